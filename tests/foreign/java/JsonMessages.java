import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** The messages in JSON (section 3.3), by the tables of the registry. */
final class JsonMessages {
    private final Registry registry;

    JsonMessages(Registry registry) {
        this.registry = registry;
    }

    String encode(Message message) {
        return Json.write(message.asJson());
    }

    Message decode(String table, String text) {
        Map<String, Object> message = Json.object(Json.parse(text));
        if (message.size() != 1) {
            throw new Malformed("a message has exactly one member");
        }
        Map.Entry<String, Object> member = message.entrySet().iterator().next();
        Registry.Kind kind = registry.kind(table, member.getKey());
        if (kind == null) {
            return Message.UNKNOWN;
        }
        return new Message(kind.name(), fields(kind.fields(), member.getValue()));
    }

    private Map<String, Object> fields(List<Registry.Field> fields, Object value) {
        Map<String, Object> members = Json.object(value);
        Map<String, Object> values = new LinkedHashMap<>();
        for (Registry.Field field : fields) {
            if (members.containsKey(field.name())) {
                values.put(field.name(), value(field.type(), members.get(field.name())));
                registry.checkForm(field, values.get(field.name()));
            } else if (field.mayBeLeftOut()) {
                values.put(field.name(), field.jsonDefault());
            } else {
                throw new Malformed("a member is missing: " + field.name());
            }
        }
        return values;
    }

    private Object value(String type, Object value) {
        if (type.startsWith("option ")) {
            return value == null ? null : value(type.substring("option ".length()), value);
        }
        if (type.startsWith("list ")) {
            List<Object> elements = new ArrayList<>();
            for (Object element : Json.array(value)) {
                elements.add(value(type.substring("list ".length()), element));
            }
            return elements;
        }
        if (registry.type(type) != null) {
            return fields(registry.type(type), value);
        }
        if (registry.union(type) != null) {
            return union(registry.union(type), value);
        }
        if (registry.names(type) != null) {
            String name = of(String.class, value);
            if (registry.names(type).closed() && !registry.names(type).numbers().containsKey(name)) {
                throw new Malformed("a name that is not listed: " + name);
            }
            return name;
        }
        switch (type) {
            case "text":
                return of(String.class, value);
            case "id":
                return Message.id(of(String.class, value));
            case "bool":
                return of(Boolean.class, value);
            case "u32":
                if (Long.compareUnsigned(of(Long.class, value), 0xffff_ffffL) > 0) {
                    throw new Malformed("more than 32 bits");
                }
                return value;
            case "u64":
                return of(Long.class, value);
            default:
                throw new IllegalArgumentException("the registry has a type that is new: " + type);
        }
    }

    private Object union(List<Registry.Form> forms, Object value) {
        for (Registry.Form form : forms) {
            if (form.bare() && value instanceof String) {
                return value(form.type(), value);
            }
            if (value instanceof Map<?, ?> object && object.containsKey(form.name())) {
                return Message.server(form.name(), value(form.type(), object.get(form.name())));
            }
        }
        throw new Malformed("no form of the union: " + value);
    }

    private static <T> T of(Class<T> type, Object value) {
        if (!type.isInstance(value)) {
            throw new Malformed("a value of another type: " + value);
        }
        return type.cast(value);
    }
}
