import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/** Tests of clients against a running gateway. */
final class Live {
    private static final String NOBODY = "0b2f6a7e-54c1-4d0a-9a39-1c4dca4d9f10";

    /** Signals of the greatest size; together they are more than 1 MiB. */
    private static final int MORE_THAN_IS_KEPT = 150;

    private final Registry registry;
    private final HttpClient http;
    private final URI uri;
    private final String token;

    /** {@code address} is the gateway's TCP address, {@code ca} the trusted authority. */
    Live(Registry registry, String address, Path ca, String token) throws Exception {
        this.registry = registry;
        this.token = token;
        uri = URI.create("wss://" + address + registry.connectPath);
        http = HttpClient.newBuilder().sslContext(trusting(ca)).build();
    }

    private static SSLContext trusting(Path ca) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null);
        try (InputStream pem = Files.newInputStream(ca)) {
            int number = 0;
            for (var each : CertificateFactory.getInstance("X.509").generateCertificates(pem)) {
                store.setCertificateEntry("ca" + number++, each);
            }
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        return context;
    }

    Client client(String encoding) {
        return new Client(registry, http, uri, encoding, token);
    }

    private static String other(String encoding) {
        return encoding.equals("json") ? "postcard" : "json";
    }

    /** Joins Alice and then Bob, runs the scenario, and checks that no event is left. */
    void check(String encoding) throws Exception {
        Client alice = client(encoding);
        String aliceId = (String) alice.next("connected").get("id");
        Client bob = client(other(encoding));
        String bobId = (String) bob.next("connected").get("id");
        Check.equal(aliceId, bob.next("created").get("id"), "who was present");
        Check.equal(bobId, alice.next("created").get("id"), "who came");

        signals(alice, aliceId, bob, bobId);
        resume(alice, aliceId, bob, bobId);
        answersAreLost(alice, bob, bobId);
        gap(encoding, alice, bob);
        attempts(encoding, alice);
        goodbye(alice, aliceId, bob, bobId);
        System.out.println("signals, resume, lost answers, a gap, attempts, goodbye: " + encoding);
    }

    private void signals(Client alice, String aliceId, Client bob, String bobId) throws Exception {
        alice.signal(null, "chat", "grüße 🚦");
        Map<String, Object> toAll = signal(aliceId, 1, "chat", "grüße 🚦");
        Check.equal(toAll, alice.next("signal"), "one's own signal");
        Check.equal(toAll, bob.next("signal"), "a signal to all");
        alice.signal(bobId.toUpperCase(), "", "");
        Check.equal(signal(aliceId, 2, null, ""), bob.next("signal"), "a signal to one");
        alice.signal(NOBODY, null, "lost");
        Check.equal(Map.of("signal", 3L, "code", "notFound"), alice.next("refused"), "to nobody");
        alice.signal(aliceId, null, null);
        Check.equal(signal(aliceId, 4, null, null), alice.next("signal"), "a ping to oneself");
    }

    private void resume(Client alice, String aliceId, Client bob, String bobId) throws Exception {
        // A signal that is lost on the way, one without a link, and meanwhile some signals of Bob.
        alice.mute();
        alice.signal(null, null, "lost on the way");
        alice.signal(NOBODY, null, "refused late");
        alice.cut();
        alice.signal(null, null, "asked for while away");
        for (int number = 1; number <= 50; number++) {
            bob.signal(number % 2 == 0 ? aliceId : null, "n", String.valueOf(number));
            if (number % 2 == 1) {
                Check.equal(signal(bobId, number, "n", String.valueOf(number)), bob.next("signal"), "Bob's own");
            }
        }
        alice.comeBack();
        Map<String, Object> resumed = alice.next("resumed");
        Check.equal(50L, resumed.get("missed"), "how many were missed");
        Check.equal(false, resumed.get("presence"), "whether presence is lost");
        for (int number = 1; number <= 50; number++) {
            Check.equal(signal(bobId, number, "n", String.valueOf(number)), alice.next("signal"), "missed");
        }
        Check.equal(signal(aliceId, 5, null, "lost on the way"), alice.next("signal"), "sent again");
        Check.equal(Map.of("signal", 6L, "code", "notFound"), alice.next("refused"), "sent again, to nobody");
        Check.equal(signal(aliceId, 7, null, "asked for while away"), alice.next("signal"), "sent late");
        Check.equal(signal(aliceId, 5, null, "lost on the way"), bob.next("signal"), "sent again, to Bob");
        Check.equal(signal(aliceId, 7, null, "asked for while away"), bob.next("signal"), "sent late, to Bob");
    }

    private void answersAreLost(Client alice, Client bob, String bobId) throws Exception {
        alice.loseAnswers(2);
        long links = alice.links();
        alice.cut();
        bob.signal(null, null, "51");
        Check.equal(signal(bobId, 51, null, "51"), bob.next("signal"), "Bob's own");
        alice.comeBack();
        Check.equal(1L, alice.next("resumed").get("missed"), "how many were missed");
        Check.equal(3L, alice.links() - links, "links until an answer was read");
        Check.equal(signal(bobId, 51, null, "51"), alice.next("signal"), "missed");
    }

    /** A visitor joins, sends more than the gateway keeps for detached clients, and leaves. */
    private void gap(String encoding, Client alice, Client bob) throws Exception {
        alice.cut();
        Client visitor = client(encoding);
        String id = (String) visitor.next("connected").get("id");
        Check.that(visitor.next("created") != null && visitor.next("created") != null, "who was present");
        Check.equal(id, bob.next("created").get("id"), "who came");
        String much = "x".repeat(registry.limit("signal.data"));
        for (int number = 1; number <= MORE_THAN_IS_KEPT; number++) {
            visitor.signal(null, null, much);
            Check.equal(signal(id, number, null, much), bob.next("signal"), "much");
        }
        visitor.leave();
        Check.equal(Map.of("id", id, "reason", "clientDisconnected"), bob.next("destroyed"), "who left");

        alice.comeBack();
        Map<String, Object> resumed = alice.next("resumed");
        Check.equal(true, resumed.get("presence"), "whether presence is lost");
        Check.equal(0L, resumed.get("missed"), "of a visitor who was never named");
        // No event of that visitor is left for the next link either.
        alice.cut();
        alice.comeBack();
        Check.equal(Map.of("missed", 0L, "lost", List.of(), "presence", false), alice.next("resumed"), "later");
    }

    /** Late attempts to resume, by hand, on another connection without presence. */
    private void attempts(String encoding, Client alice) throws Exception {
        try (Script first = new Script(encoding)) {
            first.send("hello", "token", token, "features", List.of("resume"), "streams", "single", "agent", null);
            Message welcome = first.await("welcome");
            String ticket = first.await("ticket").text("ticket");
            String id = welcome.part("connection").text("id");
            Check.equal(id, alice.next("created").get("id"), "who came");
            try (Script second = resume(encoding, ticket, 2); Script late = resume(encoding, ticket, 1);
                    Script same = resume(encoding, ticket, 2)) {
                Check.equal("superseded", first.await("bye").text("reason"), "on the first link");
                String newer = second.await("resumed").part("ticket").text("ticket");
                Check.equal("superseded", late.await("bye").text("reason"), "a late attempt");
                Check.equal("superseded", same.await("bye").text("reason"), "an attempt twice");
                second.send("ticketStored");
                second.send("signal", "to", id, "type", null, "data", "still here");
                Check.equal("still here", second.await("signal").text("data"), "on the second link");
                try (Script used = resume(encoding, ticket, 3)) {
                    Check.equal("invalidTicket", used.await("bye").text("reason"), "the used ticket");
                }
                try (Script third = resume(encoding, newer, 1, id, 1L)) {
                    third.await("resumed");
                    third.send("goodbye", "signals", 1L);
                    Check.equal("clientDisconnected", third.await("bye").text("reason"), "goodbye");
                }
            }
            Map<String, Object> destroyed = alice.next("destroyed");
            Check.equal(Map.of("id", id, "reason", "clientDisconnected"), destroyed, "who left");
        }
    }

    private Script resume(String encoding, String ticket, long attempt, Object... cursor) throws Exception {
        Script script = new Script(encoding);
        script.send("resume", "ticket", ticket, "attempt", attempt, "streams", "single", "events", 0L,
                "accepted", 0L,
                "cursors", cursor.length == 0 ? List.of()
                        : List.of(fields("from", cursor[0], "seq", cursor[1])),
                "more", false, "agent", "java/1");
        // The answer shows that the gateway has read it, so attempts arrive in the order of the test.
        script.peek();
        return script;
    }

    private void goodbye(Client alice, String aliceId, Client bob, String bobId) throws Exception {
        Map<String, Object> visitor = bob.next("created");
        Check.equal(visitor.get("id"), bob.next("destroyed").get("id"), "a visitor came and left");
        alice.signal(null, null, "last");
        alice.leave();
        Check.equal(signal(aliceId, 8, null, "last"), alice.next("signal"), "one's last");
        Check.equal(Map.of("reason", "clientDisconnected"), alice.next("ended"), "goodbye");
        Check.equal(signal(aliceId, 8, null, "last"), bob.next("signal"), "Alice's last");
        Check.equal(Map.of("id", aliceId, "reason", "clientDisconnected"), bob.next("destroyed"), "who left");
        bob.leave();
        Check.equal(Map.of("reason", "clientDisconnected"), bob.next("ended"), "goodbye");
        Check.that(!alice.hasEvent() && !bob.hasEvent(), "more was surfaced");
    }

    static Map<String, Object> signal(String from, long seq, String type, String data) {
        return fields("from", from, "seq", seq, "type", type, "data", data);
    }

    private static Map<String, Object> fields(Object... namesAndValues) {
        Map<String, Object> fields = new LinkedHashMap<>();
        for (int at = 0; at < namesAndValues.length; at += 2) {
            fields.put((String) namesAndValues[at], namesAndValues[at + 1]);
        }
        return fields;
    }

    /** A link by hand: sends given messages and waits for given ones. */
    private final class Script implements WebSocketLink.Owner, AutoCloseable {
        private final BlockingQueue<Message> messages = new LinkedBlockingQueue<>();
        private final WebSocketLink link;
        private Message peeked;

        Script(String encoding) {
            link = new WebSocketLink(registry, http, uri, encoding, this);
        }

        void send(String kind, Object... namesAndValues) {
            link.send(new Message(kind, fields(namesAndValues)));
        }

        void peek() throws InterruptedException {
            peeked = take();
        }

        /** The next message of this kind; others are skipped. */
        Message await(String kind) throws InterruptedException {
            while (true) {
                Message message = peeked == null ? take() : peeked;
                peeked = null;
                if (message.kind().equals(kind)) {
                    return message;
                }
                Check.that(!message.kind().equals("bye"), "the link ended: %s", message);
            }
        }

        private Message take() throws InterruptedException {
            Message message = messages.poll(20, TimeUnit.SECONDS);
            Check.that(message != null, "nothing came");
            return message;
        }

        @Override
        public void close() {
            link.abort();
        }

        @Override
        public void opened(WebSocketLink link) { }

        @Override
        public void heard(WebSocketLink link) { }

        @Override
        public void received(WebSocketLink link, Message message) {
            messages.add(message);
        }

        @Override
        public void undecodable(WebSocketLink link, Malformed fault) {
            ended(link, 0, fault.toString());
        }

        @Override
        public void ended(WebSocketLink link, int code, String why) {
            messages.add(new Message("bye", fields("reason", "code " + code + " " + why)));
        }
    }
}
