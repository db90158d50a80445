import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.TimeUnit;

/** Clients on a deliberately bad network (section 16): each signal comes once, and in order. */
final class Chaos {
    private static final List<String> ENCODINGS = List.of("json", "postcard", "json");
    private static final long DEADLINE_S = 40;
    /** The most signals under way, so that sending takes a while. */
    private static final long AHEAD = 2;

    /** One client, and the signals that it has received. */
    private static final class Seat {
        final Client client;
        String id;
        long sent;
        long resumes;
        boolean ended;
        final Set<Object> there = new HashSet<>();
        final Map<Object, Long> heard = new HashMap<>();

        Seat(Client client) {
            this.client = client;
        }

        boolean hasHeard(List<Seat> all, long signals) {
            return all.stream().allMatch(seat -> heard.getOrDefault(seat.id, 0L) == signals);
        }
    }

    private final List<Seat> seats = new ArrayList<>();
    private final long signals;
    private final long began = System.nanoTime();

    Chaos(Live live, long signals) {
        this.signals = signals;
        ENCODINGS.forEach(encoding -> seats.add(new Seat(live.client(encoding))));
    }

    void check() throws Exception {
        // If a link is cut before its client can resume, the connection is lost; nothing was sent yet.
        until("all have joined", seat -> seat.client.isResumable());
        Set<Object> ids = new HashSet<>();
        seats.forEach(seat -> ids.add(seat.id));
        until("all have heard all", seat -> {
            long own = seat.heard.getOrDefault(seat.id, 0L);
            if (seat.sent < signals && seat.sent < own + AHEAD) {
                seat.sent++;
                Check.equal(seat.sent, seat.client.signal(null, "n", String.valueOf(seat.sent)), "its number");
            }
            return seat.hasHeard(seats, signals) && seat.client.isAllTaken();
        });
        for (Seat seat : seats) {
            Set<Object> expected = new HashSet<>(ids);
            expected.remove(seat.id);
            Check.that(seat.there.containsAll(expected), "not told who is there: %s", seat.id);
        }
        seats.forEach(seat -> seat.client.leave());
        until("all have left", seat -> seat.ended);
        long resumes = seats.stream().mapToLong(seat -> seat.resumes).sum();
        Check.that(resumes > 0, "no link was cut, so this has tested nothing");
        System.out.printf("%d signals to %d clients, %d resumes%n", signals * seats.size(), seats.size(), resumes);
    }

    private interface Done {
        boolean test(Seat seat);
    }

    private void until(String what, Done done) throws Exception {
        boolean all = false;
        while (!all) {
            long seconds = TimeUnit.NANOSECONDS.toSeconds(System.nanoTime() - began);
            Check.that(seconds < DEADLINE_S, "not within %d s: %s", DEADLINE_S, what);
            all = true;
            for (Seat seat : seats) {
                Client.Event event = seat.client.poll(1);
                while (event != null) {
                    sees(seat, event);
                    event = seat.client.poll(0);
                }
                all &= done.test(seat);
            }
        }
    }

    private void sees(Seat seat, Client.Event event) {
        Object id = event.fields().get("id");
        switch (event.name()) {
            case "connected" -> {
                Check.that(seat.sent == 0, "the connection was lost, though it had a ticket");
                seat.id = (String) id;
                seat.there.clear();
            }
            case "created" -> Check.that(seat.there.add(id), "created twice: %s", id);
            case "destroyed" -> Check.that(seat.there.remove(id), "destroyed, but was not there: %s", id);
            case "resumed" -> {
                seat.resumes++;
                Check.equal(List.of(), event.fields().get("lost"), "lost");
                Check.equal(false, event.fields().get("presence"), "presence lost");
            }
            case "signal" -> {
                Object from = event.fields().get("from");
                long expected = seat.heard.merge(from, 1L, Long::sum);
                Check.that(from.equals(seat.id) || seat.there.contains(from), "heard before created: %s", from);
                Check.equal(Live.signal((String) from, expected, "n", String.valueOf(expected)),
                        event.fields(), "not the next signal");
            }
            case "ended" -> seat.ended = true;
            default -> throw new AssertionError("surfaced: " + event);
        }
    }
}
