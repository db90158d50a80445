import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** The transcripts (section 3.5), played to a {@link Connection} for every carrier. */
final class Transcripts {
    private static final String TOKEN = "abc.def.ghi";

    private final Registry registry;
    private final Map<String, Object> file;

    Transcripts(Path vectors, Registry registry) throws IOException {
        this.registry = registry;
        file = Json.object(Json.parse(Files.readString(vectors.resolve("transcripts.json"))));
    }

    void check() {
        int plays = 0;
        for (Object each : Json.array(file.get("transcripts"))) {
            Map<String, Object> transcript = Json.object(each);
            for (Object carriers : Json.array(transcript.get("carriers"))) {
                play(transcript, (String) carriers);
                plays++;
            }
        }
        Check.that(plays > 20, "too few transcripts: %d", plays);
        System.out.printf("%d plays%n", plays);
    }

    private void play(Map<String, Object> transcript, String carriers) {
        Player player = new Player((Boolean) transcript.get("presence"), carriers);
        int number = 0;
        for (Object each : Json.array(transcript.get("steps"))) {
            String step = Json.write(each);
            try {
                player.step(Json.object(each));
            } catch (AssertionError | RuntimeException wrong) {
                throw new AssertionError(String.format("%s, %s, step %d: %s",
                        transcript.get("name"), carriers, number, step), wrong);
            }
            number++;
        }
        player.end();
    }

    /** A client whose links are the steps of a transcript. */
    private final class Player implements Connection.Output {
        private final Connection connection;
        private final JsonMessages messages = new JsonMessages(registry);
        private final Map<String, Deque<Message>> sent = new HashMap<>();
        private final boolean shared;
        private final List<Object> surfaced = new ArrayList<>();
        private final Map<Long, Boolean> headers = new HashMap<>();
        private Connection.Next next;

        Player(boolean presence, String carriers) {
            shared = carriers.equals("shared");
            connection = new Connection(registry, TOKEN, presence, shared ? "single" : "perSender", this);
            connection.linkOpened();
        }

        @Override
        public void send(String on, Message message) {
            sent.computeIfAbsent(shared ? "control" : on, stream -> new ArrayDeque<>()).add(message);
        }

        @Override
        public void surface(String event, Map<String, Object> fields) {
            if (event.equals("created")) {
                surfaced.add(Map.of(event, Map.of("id", fields.get("id"))));
            } else {
                surfaced.add(Map.of(event, fields));
            }
        }

        @Override
        public void over(Connection.Next next) {
            this.next = next;
            headers.clear();
        }

        void step(Map<String, Object> step) {
            if (step.containsKey("receives")) {
                receives(step.get("on"), Json.write(step.get("receives")));
            } else if (step.containsKey("streamEnds")) {
                connection.streamEnds((Long) step.get("streamEnds"));
            } else if (step.containsKey("streamReset")) {
                connection.streamReset((Long) step.get("streamReset"));
            } else if (step.containsKey("linkLost")) {
                connection.linkLost("networkDisconnected");
            } else if (step.containsKey("application")) {
                does(Json.object(step.get("application")));
            } else if (step.containsKey("sends")) {
                sends((String) step.get("on"), Json.object(step.get("sends")));
            } else if (step.containsKey("sendsNothing")) {
                Check.that(sent.values().stream().allMatch(Deque::isEmpty), "was sent: %s", sent);
            } else if (step.containsKey("surfaces")) {
                surfaces(Json.array(step.get("surfaces")));
            } else if (step.containsKey("then")) {
                then((String) step.get("then"));
            } else {
                throw new IllegalArgumentException("no such step");
            }
        }

        private void receives(Object on, String message) {
            if (on.equals("control")) {
                connection.receives(messages.decode("gateway", message));
            } else {
                Long stream = (Long) on;
                boolean header = headers.put(stream, true) == null;
                connection.receives(stream, messages.decode(header ? "gatewayStream" : "sender", message));
            }
        }

        private void does(Map<String, Object> act) {
            if (act.containsKey("leave")) {
                connection.leave();
                return;
            }
            Message signal = new Message("signal", Json.object(act.get("signal")));
            connection.signal(signal.text("to"), signal.text("type"), signal.text("data"));
        }

        private void sends(String on, Map<String, Object> expected) {
            Deque<Message> stream = sent.get(shared ? "control" : on);
            Check.that(stream != null && !stream.isEmpty(), "nothing was sent");
            Message message = stream.remove();
            String kind = expected.keySet().iterator().next();
            Check.equal(kind, message.kind(), "another kind was sent");
            Json.object(expected.get(kind)).forEach((name, value) -> {
                Object was = message.fields().get(name);
                Check.equal(name.equals("cursors") ? cursors(value) : value,
                        name.equals("cursors") ? cursors(was) : was, name);
            });
        }

        private Map<Object, Object> cursors(Object list) {
            Map<Object, Object> cursors = new HashMap<>();
            for (Object each : Json.array(list)) {
                Map<String, Object> cursor = Json.object(each);
                boolean twice = cursors.containsKey(cursor.get("from"));
                Check.that(!twice, "two cursors for %s", cursor.get("from"));
                cursors.put(cursor.get("from"), cursor.get("seq"));
            }
            return cursors;
        }

        private void surfaces(List<Object> expected) {
            List<Object> rest = new ArrayList<>(surfaced);
            for (Object each : expected) {
                Object group = Json.object(each).get("inAnyOrder");
                List<Object> some = group == null ? List.of(each) : Json.array(group);
                Check.that(rest.size() >= some.size(), "expected %s, of %s", some, surfaced);
                List<Object> was = rest.subList(0, some.size());
                Check.that(was.containsAll(some) && some.containsAll(was), "expected %s, was %s", some, was);
                was.clear();
            }
            Check.that(rest.isEmpty(), "was surfaced as well: %s", rest);
            surfaced.clear();
        }

        private void then(String expected) {
            Check.that(next != null, "the link goes on");
            Check.equal(expected, next.name().toLowerCase(), "what is next");
            if (next != Connection.Next.REST) {
                next = null;
                connection.linkOpened();
            }
        }

        void end() {
            Check.that(surfaced.isEmpty(), "was surfaced in the end: %s", surfaced);
            Check.that(sent.values().stream().allMatch(Deque::isEmpty), "was sent in the end: %s", sent);
        }
    }
}
