import java.util.List;
import java.util.Map;
import java.util.UUID;

/**
 * One message: its kind, and its fields by name. Numbers are unsigned {@code Long}s; ids, enums and
 * codes are strings; none is {@code null}. A kind that this client does not know is {@link #UNKNOWN}.
 */
record Message(String kind, Map<String, Object> fields) {
    static final Message UNKNOWN = new Message("", Map.of());

    /** The message as a JSON object: one member, named after the kind. */
    Map<String, Object> asJson() {
        return Map.of(kind, fields);
    }

    String text(String field) {
        return (String) fields.get(field);
    }

    long number(String field) {
        return (Long) fields.get(field);
    }

    boolean flag(String field) {
        return (Boolean) fields.get(field);
    }

    /** A list of structures. */
    @SuppressWarnings("unchecked")
    List<Map<String, Object>> list(String field) {
        return (List<Map<String, Object>>) fields.get(field);
    }

    /** A structure within the message, read like a message. */
    @SuppressWarnings("unchecked")
    Message part(String field) {
        return new Message(field, (Map<String, Object>) fields.get(field));
    }

    /** The sender: a connection id, or the servers of a gateway as a map with its name. */
    Object from() {
        return fields.get("from");
    }

    /** The servers of one gateway. */
    static Map<String, Object> server(String member, Object name) {
        if (!(name instanceof String text) || !text.matches("[A-Za-z0-9._-]{1,64}")) {
            throw new Malformed("no name of a gateway: " + name);
        }
        return Map.of(member, name);
    }

    /** An id in the form in which this client compares ids: 36 characters, lower case. */
    static String id(String text) {
        if (text.length() != 36) {
            throw new Malformed("an id has 36 characters");
        }
        for (int at = 0; at < 36; at++) {
            boolean hyphen = at == 8 || at == 13 || at == 18 || at == 23;
            char c = text.charAt(at);
            if (hyphen ? c != '-' : c > 'f' || Character.digit(c, 16) < 0) {
                throw new Malformed("no id: " + text);
            }
        }
        return UUID.fromString(text).toString();
    }
}
