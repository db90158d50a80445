import java.net.URI;
import java.net.http.HttpClient;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;

/**
 * A client as an application uses it: a {@link Connection}, with a new link whenever one is lost.
 * Everything happens on one thread; {@link #next} returns the surfaced events.
 */
final class Client implements Connection.Output, WebSocketLink.Owner {
    record Event(String name, Map<String, Object> fields) {}

    /** How long a client waits for the answer to {@code hello} or {@code resume}. */
    private static final long ANSWER_MS = 3_000;
    private static final long TICK_MS = 100;
    private static final long LONGEST_DELAY_MS = 2_000;
    private static final long EVENT_SECONDS = 20;

    private final Registry registry;
    private final HttpClient http;
    private final URI uri;
    private final String encoding;
    private final Connection connection;
    private final ScheduledExecutorService loop = Executors.newSingleThreadScheduledExecutor(task -> {
        Thread thread = new Thread(task, "client");
        thread.setDaemon(true);
        return thread;
    });
    private final BlockingQueue<Event> events = new LinkedBlockingQueue<>();
    private final Random random = new Random();

    private WebSocketLink link;
    private boolean opened;
    private long heardAt;
    private long linkBegan;
    private long lostAt;
    private int failures;
    /** Says in a failed check why the last link ended. */
    private volatile String lastEnd = "no link has ended";
    private boolean held;
    private boolean waiting;
    private int answersToLose;
    private long links;
    private long paceAt;

    Client(Registry registry, HttpClient http, URI uri, String encoding, String token) {
        this.registry = registry;
        this.http = http;
        this.uri = uri;
        this.encoding = encoding;
        connection = new Connection(registry, token, true, "single", this);
        loop.execute(this::open);
        loop.scheduleAtFixedRate(this::tick, TICK_MS, TICK_MS, TimeUnit.MILLISECONDS);
    }

    // For the application.

    long signal(String to, String type, String data) {
        return call(() -> connection.signal(to, type, data));
    }

    void leave() {
        call(() -> {
            connection.leave();
            return null;
        });
    }

    boolean isAllTaken() {
        return call(connection::isAllTaken);
    }

    boolean isResumable() {
        return call(connection::isResumable);
    }

    long links() {
        return call(() -> links);
    }

    /** The next event, within the deadline. */
    Event next() throws InterruptedException {
        Event event = events.poll(EVENT_SECONDS, TimeUnit.SECONDS);
        Check.that(event != null, "no event within %d s; %s", EVENT_SECONDS, lastEnd);
        Check.that(!event.name.equals("failed"), "the client failed: %s", event.fields);
        return event;
    }

    /** The next event, which must be of this name. */
    Map<String, Object> next(String name) throws InterruptedException {
        Event event = next();
        Check.equal(name, event.name, "another event: " + event.fields);
        return event.fields;
    }

    /** The next event, or {@code null} if there is none within this time. */
    Event poll(long milliseconds) throws InterruptedException {
        return events.poll(milliseconds, TimeUnit.MILLISECONDS);
    }

    boolean hasEvent() {
        return !events.isEmpty();
    }

    // For tests: a network that fails.

    /** Cuts the link, and opens no other one until {@link #comeBack}. */
    void cut() {
        call(() -> {
            held = true;
            lose();
            return null;
        });
    }

    void comeBack() {
        call(() -> {
            held = false;
            if (waiting) {
                open();
            }
            return null;
        });
    }

    /** Loses all messages sent from now on, until the link is cut. */
    void mute() {
        call(() -> {
            link.mute();
            return null;
        });
    }

    /** Loses this many answers to {@code resume}, each with its link. */
    void loseAnswers(int count) {
        call(() -> answersToLose = count);
    }

    private <T> T call(Callable<T> task) {
        try {
            return loop.submit(task).get(EVENT_SECONDS, TimeUnit.SECONDS);
        } catch (Exception failure) {
            throw new AssertionError(failure.getCause() == null ? failure : failure.getCause());
        }
    }

    // For the connection.

    @Override
    public void send(String on, Message message) {
        link.send(message);
    }

    @Override
    public void surface(String event, Map<String, Object> fields) {
        if (event.equals("connected") || event.equals("resumed")) {
            failures = 0;
            lostAt = 0;
        }
        events.add(new Event(event, fields));
    }

    @Override
    public void over(Connection.Next next) {
        link = null;
        opened = false;
        if (next == Connection.Next.REST) {
            loop.shutdown();
            return;
        }
        if (lostAt == 0) {
            lostAt = now();
        }
        if (next == Connection.Next.RESUME && now() - lostAt > connection.tryForMs()) {
            connection.joinAnew();
        }
        waiting = true;
        if (held) {
            return;
        }
        // Section 5.9: the first try at once, later ones after random and growing delays.
        long longest = failures == 0 ? 0 : Math.min(LONGEST_DELAY_MS, 50L << Math.min(failures, 10));
        failures++;
        loop.schedule(this::open, longest == 0 ? 0 : random.nextLong(longest), TimeUnit.MILLISECONDS);
    }

    private void open() {
        if (held) {
            return;
        }
        waiting = false;
        linkBegan = now();
        heardAt = linkBegan;
        links++;
        link = new WebSocketLink(registry, http, uri, encoding, this);
    }

    private void lose() {
        if (link != null) {
            link.abort();
            connection.linkLost("networkDisconnected");
        }
    }

    private void tick() {
        try {
            if (link == null) {
                return;
            }
            boolean waits = opened && connection.isAnswered();
            long limit = waits ? connection.idleTimeoutMs() : ANSWER_MS;
            if (now() - (waits ? heardAt : linkBegan) > limit) {
                lose();
            }
            long pace = connection.paceMs();
            if (pace == 0) {
                paceAt = now();
            }
            while (connection.paceMs() > 0 && paceAt <= now()) {
                connection.sendNext();
                paceAt += pace;
            }
        } catch (RuntimeException bug) {
            failed(bug);
        }
    }

    private static long now() {
        return TimeUnit.NANOSECONDS.toMillis(System.nanoTime());
    }

    private void failed(Throwable bug) {
        bug.printStackTrace();
        events.add(new Event("failed", Map.of("why", bug.toString())));
    }

    // For the link. Calls of an earlier link are ignored.

    private void of(WebSocketLink from, Runnable step) {
        if (loop.isShutdown()) {
            return;
        }
        loop.execute(() -> {
            if (from == link) {
                try {
                    step.run();
                } catch (Malformed fault) {
                    undecodable(from, fault);
                } catch (RuntimeException bug) {
                    failed(bug);
                }
            }
        });
    }

    @Override
    public void opened(WebSocketLink from) {
        of(from, () -> {
            opened = true;
            connection.linkOpened();
        });
    }

    @Override
    public void received(WebSocketLink from, Message message) {
        of(from, () -> {
            if (message.kind().equals("resumed") && answersToLose > 0) {
                answersToLose--;
                lose();
                return;
            }
            connection.receives(message);
        });
    }

    @Override
    public void heard(WebSocketLink from) {
        of(from, () -> heardAt = now());
    }

    @Override
    public void undecodable(WebSocketLink from, Malformed fault) {
        of(from, () -> {
            failed(fault);
            from.close(WebSocketLink.PROTOCOL_ERROR);
            connection.fault();
        });
    }

    @Override
    public void ended(WebSocketLink from, int code, String why) {
        lastEnd = String.format("the last link ended with %d: %s", code, why);
        of(from, () -> connection.linkLost(
                code == 1000 && connection.isLeaving() ? "clientDisconnected" : registry.reason(code)));
    }
}
