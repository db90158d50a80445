import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;

/** The tables of {@code protocol/vectors/protocol.json}: kinds, fields, enums, codes and limits. */
final class Registry {
    /** A field; {@code mayBeLeftOut} says that JSON has a default for it. */
    record Field(String name, String type, boolean mayBeLeftOut, Object jsonDefault) {}

    record Kind(long number, String name, List<Field> fields) {}

    /** Names and numbers of an enum (closed) or of codes (open). */
    record Names(boolean closed, Map<Long, String> names, Map<String, Long> numbers) {}

    /** One form of a union. In JSON a {@code bare} value stands alone, and another in an object. */
    record Form(long number, String name, String type, boolean bare) {}

    private final Map<String, List<Kind>> kinds = new HashMap<>();
    private final Map<String, List<Field>> types = new HashMap<>();
    private final Map<String, List<Form>> unions = new HashMap<>();
    private final Map<String, Names> names = new HashMap<>();
    private final Map<String, Map<String, Object>> reasons = new HashMap<>();
    private final Map<String, Long> limits = new HashMap<>();
    final Map<String, Object> subprotocols;
    final String connectPath;

    Registry(Path vectors) throws IOException {
        Map<String, Object> json =
                Json.object(Json.parse(Files.readString(vectors.resolve("protocol.json"))));
        Json.object(json.get("kinds")).forEach((table, list) -> {
            List<Kind> all = new ArrayList<>();
            for (Object each : Json.array(list)) {
                Map<String, Object> kind = Json.object(each);
                all.add(new Kind((Long) kind.get("number"), (String) kind.get("name"), fields(kind.get("fields"))));
            }
            kinds.put(table, all);
        });
        Json.object(json.get("types")).forEach((type, list) -> types.put(type, fields(list)));
        Json.object(json.get("unions")).forEach((name, list) -> unions.put(name, forms(list)));
        Json.object(json.get("enums")).forEach((name, list) -> names.put(name, named(true, list)));
        Json.object(json.get("codes")).forEach((name, list) -> names.put(name, named(false, list)));
        for (Object each : Json.array(Json.object(json.get("codes")).get("closeReason"))) {
            reasons.put((String) Json.object(each).get("name"), Json.object(each));
        }
        for (Object each : Json.array(json.get("limits"))) {
            Map<String, Object> limit = Json.object(each);
            limits.put((String) limit.get("name"), (Long) limit.get("atMost"));
        }
        subprotocols = Json.object(json.get("subprotocols"));
        connectPath = (String) Objects.requireNonNull(json.get("connectPath"), "protocol.json: connectPath");
    }

    private static List<Field> fields(Object list) {
        List<Field> fields = new ArrayList<>();
        for (Object each : Json.array(list)) {
            Map<String, Object> field = Json.object(each);
            fields.add(new Field((String) field.get("name"), (String) field.get("type"),
                    field.containsKey("jsonDefault"), field.get("jsonDefault")));
        }
        return fields;
    }

    private static List<Form> forms(Object list) {
        List<Form> forms = new ArrayList<>();
        for (Object each : Json.array(list)) {
            Map<String, Object> form = Json.object(each);
            forms.add(new Form((Long) form.get("number"), (String) form.get("name"),
                    (String) form.get("type"), (Boolean) form.get("bare")));
        }
        return forms;
    }

    private static Names named(boolean closed, Object list) {
        Names names = new Names(closed, new HashMap<>(), new HashMap<>());
        for (Object each : Json.array(list)) {
            Map<String, Object> entry = Json.object(each);
            names.names.put((Long) entry.get("number"), (String) entry.get("name"));
            names.numbers.put((String) entry.get("name"), (Long) entry.get("number"));
        }
        return names;
    }

    /** The kind with this number, or {@code null}. */
    Kind kind(String table, long number) {
        return kinds.get(table).stream().filter(kind -> kind.number == number).findAny().orElse(null);
    }

    /** The kind with this name, or {@code null}. */
    Kind kind(String table, String name) {
        return kinds.get(table).stream().filter(kind -> kind.name.equals(name)).findAny().orElse(null);
    }

    /** The fields of a type that occurs in several messages, or {@code null}. */
    List<Field> type(String type) {
        return types.get(type);
    }

    /** The forms of a union, or {@code null}. */
    List<Form> union(String type) {
        return unions.get(type);
    }

    /** The names of an enum or of codes, or {@code null}. */
    Names names(String type) {
        return names.get(type);
    }

    /** These two lists are malformed beyond their limits; other limits do not make one malformed. */
    void checkForm(Field field, Object value) {
        switch (field.name()) {
            case "features" -> checkTexts(Json.array(value), limit("features"), limit("name of a feature"));
            case "gateways" ->
                    checkTexts(Json.array(value), limit("welcome.gateways"), limit("URL of a gateway"));
            default -> { }
        }
    }

    private static void checkTexts(List<Object> texts, int most, int bytesEach) {
        boolean isLong = texts.stream().anyMatch(text ->
                ((String) text).getBytes(StandardCharsets.UTF_8).length > bytesEach);
        if (isLong || texts.size() > most) {
            throw new Malformed("too many texts, or too long a text");
        }
    }

    int limit(String name) {
        return Math.toIntExact(limits.get(name));
    }

    /** The step after a close reason: {@code resume}, {@code join}, {@code newToken} or {@code no}. */
    String comeBack(String reason) {
        // Section 11: an unknown reason is treated like internalError.
        Map<String, Object> known = reasons.getOrDefault(reason, reasons.get("internalError"));
        return (String) known.get("comeBack");
    }

    /** The reason for which the gateway closes a WebSocket with a code. */
    String reason(int webSocketCode) {
        if (webSocketCode < 4000 || webSocketCode > 4999) {
            return "networkDisconnected";
        }
        String name = names.get("closeReason").names.get((long) webSocketCode - 4000);
        return name == null ? Postcard.unknown(webSocketCode - 4000) : name;
    }
}
