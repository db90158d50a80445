import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** A client's own signals, in order, until the gateway confirms them (sections 5.2 and 5.8). */
final class Outbox {
    /** The most signals that may wait; {@link #add} rejects more. */
    static final int LIMIT = 10_000;

    private final List<Map<String, Object>> signals = new ArrayList<>();
    /** The number of the last confirmed signal, which is not stored any more. */
    private long forgotten;
    /** The number of stored signals that were sent on this link. */
    private int sent;
    /** The number of stored signals that were sent on any link. */
    private int everSent;

    void add(Map<String, Object> signal) {
        if (signals.size() == LIMIT) {
            throw new IllegalStateException(LIMIT + " signals wait to be taken");
        }
        signals.add(signal);
    }

    /** Number of the last signal. */
    long last() {
        return forgotten + signals.size();
    }

    boolean isEmpty() {
        return signals.isEmpty();
    }

    /** The next signal to be sent on this link, or {@code null}. */
    Map<String, Object> next() {
        if (sent == signals.size()) {
            return null;
        }
        Map<String, Object> next = signals.get(sent);
        sent++;
        everSent = Math.max(everSent, sent);
        return next;
    }

    /** The gateway has accepted all signals up to this number. */
    void taken(long number) {
        if (Long.compareUnsigned(number, last()) > 0) {
            throw new Malformed("the gateway took more signals than were sent");
        }
        forget((int) Math.max(0, number - forgotten));
    }

    /** The gateway confirms nothing, so sent signals are not stored. */
    void forgetSent() {
        forget(sent);
    }

    private void forget(int count) {
        signals.subList(0, count).clear();
        forgotten += count;
        sent = Math.max(0, sent - count);
        everSent = Math.max(0, everSent - count);
    }

    /** On the next link all unconfirmed signals are sent again. */
    void linkLost() {
        sent = 0;
    }

    /** Another connection counts from 1. It gets the unsent signals; others could come twice. */
    void joinAnew() {
        signals.subList(0, everSent).clear();
        forgotten = 0;
        sent = 0;
        everSent = 0;
    }
}
