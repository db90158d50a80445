import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;

/** The golden vectors and the malformed ones. */
final class Vectors {
    private final Path vectors;
    private final Registry registry;
    private final Postcard postcard;
    private final JsonMessages json;

    Vectors(Path vectors, Registry registry) {
        this.vectors = vectors;
        this.registry = registry;
        postcard = new Postcard(registry);
        json = new JsonMessages(registry);
    }

    void check() throws IOException {
        int good = 0;
        for (Object each : entries("messages.json")) {
            isEncodedAndDecoded(Json.object(each));
            good++;
        }
        int bad = 0;
        for (Object each : entries("malformed.json")) {
            Map<String, Object> entry = Json.object(each);
            if (entry.get("malformed").equals(true)) {
                isRefused(entry);
                bad++;
            }
        }
        // An empty or misread file must not pass.
        Check.that(good > 20 && bad > 20, "too few vectors: %d, and %d malformed", good, bad);
        System.out.printf("%d messages, %d malformed ones%n", good, bad);
    }

    private List<Object> entries(String file) throws IOException {
        return Json.array(Json.parse(Files.readString(vectors.resolve(file))));
    }

    private void isEncodedAndDecoded(Map<String, Object> entry) {
        String name = (String) entry.get("name");
        String table = (String) entry.get("kind");
        byte[] bytes = HexFormat.of().parseHex((String) entry.get("hex"));
        byte[] frame = HexFormat.of().parseHex((String) entry.get("frame"));
        Map.Entry<String, Object> member = Json.object(entry.get("json")).entrySet().iterator().next();
        Message message = new Message(member.getKey(), Json.object(member.getValue()));

        Check.that(Arrays.equals(postcard.encode(table, message), bytes), "%s: encoded differently", name);
        Check.that(Arrays.equals(Frames.frame(bytes), frame), "%s: framed differently", name);
        Check.equal(message, postcard.decode(table, bytes), name + ", postcard");
        Check.equal(message, json.decode(table, json.encode(message)), name + ", JSON");
        int limit = registry.limit("gateway message, postcard");
        Check.that(Arrays.equals(Frames.read(frame, true, limit).get(0), bytes), "%s: read differently", name);
    }

    private void isRefused(Map<String, Object> entry) {
        Object read;
        try {
            read = read(entry);
        } catch (Malformed refused) {
            return;
        }
        throw new AssertionError("taken, though it is malformed: " + Json.write(entry) + " as " + read);
    }

    /** Decodes as a client or as a gateway does; malformed messages are malformed for both. */
    private Object read(Map<String, Object> entry) {
        String place = (String) entry.get("place");
        boolean client = entry.get("reader").equals("client");
        if (entry.containsKey("json")) {
            return json.decode(table(client, place), (String) entry.get("json"));
        }
        byte[] bytes = HexFormat.of().parseHex((String) entry.get("hex"));
        if (place.equals("frames")) {
            String limit = client ? "gateway message, postcard" : "client message, postcard";
            boolean ended = Boolean.TRUE.equals(entry.get("fin"));
            return Frames.read(bytes, ended, registry.limit(limit));
        }
        return postcard.decode(table(client, place), bytes);
    }

    private static String table(boolean client, String place) {
        return switch (place) {
            case "first", "control", "signals" -> client ? "gateway" : "client";
            case "header" -> client ? "gatewayStream" : "clientStream";
            case "sender" -> "sender";
            default -> throw new IllegalArgumentException("no such place: " + place);
        };
    }
}
