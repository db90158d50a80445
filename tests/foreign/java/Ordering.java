import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.BiConsumer;

/**
 * The duties of section 7: messages of many streams are surfaced in the guaranteed order. Where all
 * signals share a stream, only ends of connections from an earlier link are held.
 */
final class Ordering {
    /** A stream of the gateway, by its header. A sender is as in {@link Message#from}. */
    private static final class Stream {
        boolean headerRead;
        boolean ignored;
        Object from;
        long after;
        final Deque<Message> held = new ArrayDeque<>();
    }

    /** Destroyed connections that are remembered; the oldest is forgotten first (section 5.10). */
    private static final int DESTROYED_IDS = 1024;

    private record End(String reason, long lastSeq) {}

    private final String self;
    private final boolean presence;
    private final BiConsumer<String, Map<String, Object>> surface;

    // State of the connection, for all of its links.
    private final Map<Object, Long> cursors = new HashMap<>();
    private final Set<String> named = new HashSet<>();
    private final Map<String, End> heldEnds = new LinkedHashMap<>();
    /** Connections whose end was surfaced, the oldest first. */
    private final Set<Object> destroyed = new LinkedHashSet<>();

    // State of the link.
    private final Map<Long, Stream> streams;
    private final Set<Object> reset = new HashSet<>();

    /** Takes over the streams that were opened before {@code welcome}. */
    Ordering(String self, boolean presence, BiConsumer<String, Map<String, Object>> surface) {
        this.self = self;
        this.presence = presence;
        this.surface = surface;
        streams = new TreeMap<>();
    }

    /** The link is lost: held signals come again on the next one. */
    void linkLost() {
        streams.clear();
        reset.clear();
    }

    void created(Message connection) {
        String id = connection.text("id");
        if (!destroyed.contains(id) && named.add(id)) {
            surface.accept("created", connection.fields());
            release();
        }
    }

    void destroyed(Message event) {
        String id = event.text("id");
        if (!named.contains(id)) {
            ignoreStreams(id);
            return;
        }
        heldEnds.put(id, new End(event.text("reason"), event.number("lastSeq")));
        release();
    }

    /** A signal on the stream that all senders share. */
    void signal(Object from, Message signal) {
        if (!destroyed.contains(from)) {
            surfaceSignal(from, signal);
            release();
        }
    }

    void header(long stream, Message header) {
        Stream opened = streams.computeIfAbsent(stream, id -> new Stream());
        opened.headerRead = true;
        opened.ignored = header == Message.UNKNOWN || destroyed.contains(header.from());
        if (!opened.ignored) {
            opened.from = header.from();
            opened.after = header.number("after");
        }
        release();
    }

    void onStream(long stream, Message signal) {
        Stream open = streams.get(stream);
        if (!open.ignored && signal != Message.UNKNOWN) {
            open.held.add(signal);
            release();
        }
    }

    void streamReset(long stream) {
        Stream was = streams.get(stream);
        if (was != null && was.headerRead && !was.ignored) {
            reset.add(was.from);
        }
        release();
    }

    /** Surfaces all events that have become due (rules 2 to 5). */
    private void release() {
        boolean more = true;
        while (more) {
            more = false;
            for (Stream stream : streams.values()) {
                while (!stream.held.isEmpty() && mayBeSurfaced(stream)) {
                    surfaceSignal(stream.from, stream.held.remove());
                    more = true;
                }
            }
            for (String id : new ArrayList<>(heldEnds.keySet())) {
                End end = heldEnds.get(id);
                if (Long.compareUnsigned(cursor(id), end.lastSeq) >= 0 || reset.contains(id)) {
                    surfaceEnd(id, end.reason);
                }
            }
        }
    }

    private boolean mayBeSurfaced(Stream stream) {
        boolean known = !presence || stream.from instanceof Map || stream.from.equals(self)
                || named.contains(stream.from);
        return known && Long.compareUnsigned(cursor(stream.from), stream.after) >= 0;
    }

    private void surfaceSignal(Object from, Message signal) {
        cursors.put(from, signal.number("seq"));
        Map<String, Object> event = new LinkedHashMap<>();
        event.put("from", from);
        event.put("seq", signal.number("seq"));
        event.put("type", "".equals(signal.text("type")) ? null : signal.text("type"));
        event.put("data", signal.text("data"));
        surface.accept("signal", event);
    }

    private void surfaceEnd(String id, String reason) {
        heldEnds.remove(id);
        cursors.remove(id);
        named.remove(id);
        ignoreStreams(id);
        destroyed.add(id);
        if (destroyed.size() > DESTROYED_IDS) {
            destroyed.remove(destroyed.iterator().next());
        }
        surface.accept("destroyed", Map.of("id", id, "reason", reason));
    }

    /** A connection that has left sends nothing more. */
    private void ignoreStreams(String id) {
        for (Stream stream : streams.values()) {
            if (id.equals(stream.from)) {
                stream.ignored = true;
                stream.held.clear();
            }
        }
    }

    private long cursor(Object from) {
        return cursors.getOrDefault(from, 0L);
    }

    /** The cursors of a {@code resume}, also for senders whose end is held. */
    List<Map<String, Object>> cursors() {
        Map<Object, Long> all = new HashMap<>(cursors);
        heldEnds.keySet().forEach(id -> all.putIfAbsent(id, 0L));
        List<Map<String, Object>> list = new ArrayList<>();
        all.forEach((from, seq) -> {
            Map<String, Object> cursor = new LinkedHashMap<>();
            cursor.put("from", from);
            cursor.put("seq", seq);
            list.add(cursor);
        });
        return list;
    }

    /**
     * Applies a gap (section 5.10), steps 2 to 5. {@code present} are the connections in the session,
     * or {@code null} if no presence is lost.
     */
    void resumed(List<Map<String, Object>> lost, List<Map<String, Object>> present) {
        for (Map<String, Object> each : lost) {
            if (!destroyed.contains(each.get("from"))) {
                cursors.put(each.get("from"), (Long) each.get("until"));
            }
        }
        for (String id : new ArrayList<>(heldEnds.keySet())) {
            End end = heldEnds.get(id);
            if (Long.compareUnsigned(cursor(id), end.lastSeq) >= 0) {
                surfaceEnd(id, end.reason);
            }
        }
        if (present != null && presence) {
            Map<String, Map<String, Object>> there = new LinkedHashMap<>();
            present.forEach(each -> there.put((String) each.get("id"), each));
            there.keySet().removeAll(destroyed);
            for (String id : new ArrayList<>(named)) {
                if (!there.containsKey(id)) {
                    End held = heldEnds.get(id);
                    surfaceEnd(id, held == null ? "networkDisconnected" : held.reason);
                }
            }
            // Connections that came and went meanwhile, named by `lost` alone, are forgotten, too.
            cursors.keySet().removeIf(from -> from instanceof String id && !id.equals(self) && !there.containsKey(id));
            there.forEach((id, connection) -> {
                if (named.add(id)) {
                    surface.accept("created", connection);
                }
            });
        }
        release();
    }
}
