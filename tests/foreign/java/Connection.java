import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * A client's connection over all of its links: its state (section 5.13), its ticket and its signals.
 * It does no I/O: a link passes it arriving messages, and it returns messages to send and events.
 */
final class Connection {
    /** The next step of a client after the end of a link. */
    enum Next { JOIN, RESUME, REST }

    interface Output {
        /** {@code on} is {@code control} or {@code signals}. */
        void send(String on, Message message);

        void surface(String event, Map<String, Object> fields);

        /** The link is not needed any more and must be closed. */
        void over(Next next);
    }

    private enum State { JOINING, JOINED, RESUMABLE, AWAY, RESUMING, LEAVING, OVER }

    private static final int CURSORS_OF_A_MESSAGE = 500;

    private final Registry registry;
    private final String token;
    private final boolean presence;
    private final String streams;
    private final Output output;

    private State state = State.JOINING;
    private boolean onLink;
    private boolean leaving;

    // State of the connection.
    private final Outbox outbox = new Outbox();
    private Ordering ordering;
    private Message limits;
    private long unnamed;
    private boolean unkept;
    private String ticket;
    private long windowMs;
    private long attempts;
    private long events;
    private long accepted;
    private final Set<Long> refused = new HashSet<>();

    // State of the link.
    private final List<Runnable> early = new ArrayList<>();
    private final List<Message> aside = new ArrayList<>();
    private final Set<Long> headers = new HashSet<>();
    private long endedStreams;
    private Message bye;
    private boolean paced;

    /** {@code streams} is the mode on QUIC: {@code perSender} or {@code single}. */
    Connection(Registry registry, String token, boolean presence, String streams, Output output) {
        this.registry = registry;
        this.token = token;
        this.presence = presence;
        this.streams = streams;
        this.output = output;
    }

    // Calls of the application.

    /** Gives the signal the next number, and sends it now or when there is a link. */
    long signal(String to, String type, String data) {
        if (state == State.OVER || leaving) {
            throw new IllegalStateException("the connection is over");
        }
        isAllowed(type, data);
        Map<String, Object> signal = new LinkedHashMap<>();
        signal.put("to", to == null ? null : Message.id(to));
        signal.put("type", type);
        signal.put("data", data);
        outbox.add(signal);
        long number = outbox.last();
        if (maySend() && !paced) {
            sendAll();
        }
        return number;
    }

    private void isAllowed(String type, String data) {
        long typeBytes = limits == null ? registry.limit("signal.type") : limits.number("typeBytes");
        long dataBytes = limits == null ? registry.limit("signal.data") : limits.number("dataBytes");
        if (type != null && (!type.matches("[A-Za-z0-9._~-]*") || type.length() > typeBytes)) {
            throw new IllegalArgumentException("no type of a signal: " + type);
        }
        if (data != null && (!Json.isPaired(data)
                || data.getBytes(StandardCharsets.UTF_8).length > dataBytes)) {
            throw new IllegalArgumentException("data that is too long, or no text");
        }
    }

    void forceDisconnect(String id) {
        output.send("control", message("forceDisconnect", "id", Message.id(id)));
    }

    /** Says goodbye, on the next link if there is none. */
    void leave() {
        leaving = true;
        if (maySend() && !paced) {
            goodbye();
        }
    }

    private void goodbye() {
        output.send("control", message("goodbye", "signals", outbox.last()));
        state = State.LEAVING;
    }

    private boolean maySend() {
        return onLink && (state == State.JOINING || state == State.JOINED || state == State.RESUMABLE);
    }

    private void sendAll() {
        while (sendNext()) {
            // until none is left
        }
    }

    /** Sends one of the waiting signals. False if there was none. */
    boolean sendNext() {
        if (!maySend()) {
            return false;
        }
        Map<String, Object> next = outbox.next();
        if (next != null) {
            output.send("signals", new Message("signal", next));
            if (unkept) {
                outbox.forgetSent();
            }
            return true;
        }
        paced = false;
        if (leaving) {
            goodbye();
        }
        return false;
    }

    /** Milliseconds between two calls of {@link #sendNext} after a resume, or 0 if none is due. */
    long paceMs() {
        return paced ? Math.max(1, 1000 / limits.number("signalsPerSecond")) : 0;
    }

    // Calls of the link.

    /** A link is open: sends its first message. */
    void linkOpened() {
        early.clear();
        aside.clear();
        headers.clear();
        endedStreams = 0;
        bye = null;
        onLink = true;
        if (state == State.AWAY) {
            state = State.RESUMING;
            resume();
        } else {
            List<String> features = presence ? List.of("presence", "resume") : List.of("resume");
            output.send("control", message("hello", "token", token, "features", features,
                    "streams", streams, "agent", null));
            sendAll();
        }
    }

    private void resume() {
        attempts++;
        List<Map<String, Object>> cursors = ordering.cursors();
        int at = Math.min(cursors.size(), CURSORS_OF_A_MESSAGE);
        output.send("control", message("resume", "ticket", ticket, "attempt", attempts,
                "streams", streams, "events", events, "accepted", accepted, "cursors", cursors.subList(0, at),
                "more", at < cursors.size(), "agent", null));
        while (at < cursors.size()) {
            int until = Math.min(cursors.size(), at + CURSORS_OF_A_MESSAGE);
            output.send("control", message("cursors", "cursors", cursors.subList(at, until),
                    "more", until < cursors.size()));
            at = until;
        }
    }

    /** A message on the control stream, or on the WebSocket. */
    void receives(Message message) {
        if (!onLink || bye != null) {
            return;
        }
        switch (message.kind()) {
            case "welcome" -> welcome(message);
            case "present" -> present(message);
            case "ticket" -> ticket(message);
            case "error" -> error(message);
            case "accepted" -> accepted(message.number("signals"));
            case "gap" -> gap(message);
            case "resumed" -> resumed(message);
            case "bye" -> bye(message);
            case "connectionCreated" -> {
                events++;
                ordering.created(message);
            }
            case "connectionDestroyed" -> {
                events++;
                ordering.destroyed(message);
            }
            case "signal" -> ordering.signal(message.from(), message);
            default -> { } // goAway: this client waits for bye. Unknown kinds are skipped.
        }
    }

    private void welcome(Message welcome) {
        String id = welcome.part("connection").text("id");
        ordering = new Ordering(id, presence, output::surface);
        limits = welcome.part("limits");
        unnamed = welcome.number("present");
        unkept = !((List<?>) welcome.fields().get("features")).contains("resume");
        if (unkept) {
            outbox.forgetSent();
        }
        state = leaving ? State.LEAVING : State.JOINED;
        output.surface("connected", Map.of("id", id));
        early.forEach(Runnable::run);
        early.clear();
        becomeResumable();
    }

    private void present(Message present) {
        if (state == State.RESUMING) {
            aside.add(present);
            return;
        }
        for (Map<String, Object> connection : present.list("connections")) {
            unnamed--;
            ordering.created(new Message("connection", connection));
        }
        becomeResumable();
    }

    private void ticket(Message message) {
        ticket = message.text("ticket");
        windowMs = message.number("windowMs");
        attempts = 0;
        becomeResumable();
    }

    private void becomeResumable() {
        if (state == State.JOINED && unnamed == 0 && ticket != null) {
            state = State.RESUMABLE;
        }
    }

    private void error(Message error) {
        if (state == State.RESUMING) {
            aside.add(error);
            return;
        }
        Object signal = error.fields().get("signal");
        if (signal == null) {
            return; // not about a signal; this client sends no such request
        } else if (Long.compareUnsigned((Long) signal, accepted) > 0 && refused.add((Long) signal)) {
            boolean known = registry.names("errorCode").numbers().containsKey(error.text("code"));
            output.surface("refused", Map.of("signal", signal, "code", known ? error.text("code") : "unknown"));
        }
    }

    private void gap(Message gap) {
        if (state == State.RESUMING) {
            aside.add(gap);
        } else if (gap.flag("presence")) {
            fault();
        } else {
            output.surface("gap", Map.of("lost", gap.list("lost")));
        }
    }

    private void accepted(long signals) {
        accepted = signals;
        outbox.taken(signals);
        refused.removeIf(number -> Long.compareUnsigned(number, signals) <= 0);
    }

    private void resumed(Message resumed) {
        state = State.RESUMABLE;
        ticket(resumed.part("ticket"));

        List<Map<String, Object>> lost = new ArrayList<>();
        List<Map<String, Object>> present = new ArrayList<>();
        boolean presenceLost = false;
        for (Message message : aside) {
            switch (message.kind()) {
                case "gap" -> {
                    lost.addAll(message.list("lost"));
                    presenceLost |= message.flag("presence");
                }
                case "present" -> present.addAll(message.list("connections"));
                default -> error(message);
            }
        }
        accepted(resumed.number("signals"));
        output.surface("resumed",
                Map.of("missed", resumed.number("missed"), "lost", lost, "presence", presenceLost));
        ordering.resumed(lost, presenceLost ? present : null);
        if (presenceLost && presence) {
            events = 0;
        }
        early.forEach(Runnable::run);
        early.clear();

        output.send("control", message("ticketStored"));
        paced = limits.number("signalsPerSecond") > 0 && !outbox.isEmpty();
        if (!paced) {
            sendAll();
        }
    }

    // Streams of the gateway; only on QUIC, with a stream for each sender.

    /** A message on a stream of the gateway; the first one there is its header. */
    void receives(long stream, Message message) {
        if (!onLink) {
            return;
        }
        if (headers.add(stream)) {
            inOrder(() -> ordering.header(stream, message));
        } else {
            inOrder(() -> ordering.onStream(stream, message));
        }
    }

    void streamEnds(long stream) {
        endedStreams++;
        endIfAllIsRead();
    }

    void streamReset(long stream) {
        inOrder(() -> ordering.streamReset(stream));
        endedStreams++;
        endIfAllIsRead();
    }

    /** Rule 1: nothing is surfaced before {@code welcome} or {@code resumed}. */
    private void inOrder(Runnable step) {
        if (ordering == null || state == State.RESUMING) {
            early.add(step);
        } else {
            step.run();
        }
    }

    // The end of a link.

    private void bye(Message message) {
        bye = message;
        String reason = message.text("reason");
        if (reason.equals("shuttingDown") || state == State.RESUMING) {
            linkEnds(reason);
        } else {
            endIfAllIsRead();
        }
    }

    private void endIfAllIsRead() {
        if (bye != null && onLink && Long.compareUnsigned(endedStreams, bye.number("streams")) >= 0) {
            linkEnds(bye.text("reason"));
        }
    }

    /** The carrier is closed, for a reason of section 5.5. A {@code bye} takes precedence. */
    void linkLost(String reason) {
        if (onLink) {
            linkEnds(bye == null ? reason : bye.text("reason"));
        } else if (state != State.OVER) {
            output.over(leaving ? rest(reason) : state == State.AWAY ? Next.RESUME : Next.JOIN);
        }
    }

    /** A message of the gateway cannot be decoded (section 6.6). */
    void fault() {
        onLink = false;
        joinAnew();
        output.over(Next.JOIN);
    }

    private void linkEnds(String reason) {
        onLink = false;
        paced = false;
        outbox.linkLost();
        output.over(switch (state) {
            case JOINING -> joiningEnds(reason);
            case RESUMING -> resumingEnds(reason);
            case RESUMABLE -> registry.comeBack(reason).equals("resume") ? away() : ends(reason);
            case LEAVING -> rest(reason);
            default -> registry.comeBack(reason).equals("resume") ? joinAnew() : ends(reason);
        });
    }

    private Next joiningEnds(String reason) {
        return Set.of("no", "newToken").contains(registry.comeBack(reason)) ? rest(reason) : joinAnew();
    }

    private Next resumingEnds(String reason) {
        if (leaving) {
            return rest(reason);
        }
        switch (reason) {
            case "networkDisconnected":
            case "shuttingDown":
            case "helloTimeout":
            case "internalError":
                return away();
            case "forceDisconnected":
            case "superseded":
                return rest(reason);
            case "invalidTicket":
            case "protocolError":
            case "frameTooLarge":
                return joinAnew();
            default:
                boolean known = registry.names("closeReason").numbers().containsKey(reason);
                return known ? ends(reason) : away();
        }
    }

    private Next ends(String reason) {
        return switch (registry.comeBack(reason)) {
            case "no", "newToken" -> rest(reason);
            default -> {
                output.surface("ended", Map.of("reason", reason));
                yield joinAnew();
            }
        };
    }

    private Next away() {
        state = State.AWAY;
        ordering.linkLost();
        return Next.RESUME;
    }

    private Next rest(String reason) {
        state = State.OVER;
        output.surface("ended", Map.of("reason", reason));
        return Next.REST;
    }

    /** The connection is gone; the next one starts without its state. */
    Next joinAnew() {
        state = State.JOINING;
        outbox.joinAnew();
        ordering = null;
        limits = null;
        unkept = false;
        ticket = null;
        attempts = 0;
        events = 0;
        accepted = 0;
        refused.clear();
        return Next.JOIN;
    }

    // Timeouts for the link.

    /** The silence after which the link counts as lost. */
    long idleTimeoutMs() {
        return limits == null ? 30_000 : limits.number("idleTimeoutMs");
    }

    /** The time for attempts to resume (section 5.9, step 2). */
    long tryForMs() {
        return windowMs + idleTimeoutMs() * 4 / 3;
    }

    boolean isAnswered() {
        return state != State.JOINING && state != State.RESUMING;
    }

    boolean isLeaving() {
        return state == State.LEAVING;
    }

    boolean isResumable() {
        return state == State.RESUMABLE;
    }

    boolean isAllTaken() {
        return outbox.isEmpty();
    }

    private static Message message(String kind, Object... namesAndValues) {
        Map<String, Object> fields = new LinkedHashMap<>();
        for (int at = 0; at < namesAndValues.length; at += 2) {
            fields.put((String) namesAndValues[at], namesAndValues[at + 1]);
        }
        return new Message(kind, fields);
    }
}
