import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;

/** The messages in postcard (section 3.1), by the tables of the registry. */
final class Postcard {
    private final Registry registry;

    Postcard(Registry registry) {
        this.registry = registry;
    }

    /** The name of a code with an unknown number. */
    static String unknown(long code) {
        return "#" + code;
    }

    byte[] encode(String table, Message message) {
        Registry.Kind kind = registry.kind(table, message.kind());
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        varint(kind.number(), out);
        fields(kind.fields(), message.fields(), out);
        return out.toByteArray();
    }

    private void fields(List<Registry.Field> fields, Map<String, Object> values, ByteArrayOutputStream out) {
        for (Registry.Field field : fields) {
            Object value = values.containsKey(field.name()) ? values.get(field.name()) : field.jsonDefault();
            value(field.type(), value, out);
        }
    }

    private void value(String type, Object value, ByteArrayOutputStream out) {
        if (type.startsWith("option ")) {
            out.write(value == null ? 0 : 1);
            if (value != null) {
                value(type.substring("option ".length()), value, out);
            }
        } else if (type.startsWith("list ")) {
            List<Object> elements = Json.array(value);
            varint(elements.size(), out);
            for (Object element : elements) {
                value(type.substring("list ".length()), element, out);
            }
        } else if (registry.type(type) != null) {
            fields(registry.type(type), Json.object(value), out);
        } else if (registry.union(type) != null) {
            union(registry.union(type), value, out);
        } else if (registry.names(type) != null) {
            varint(registry.names(type).numbers().get((String) value), out);
        } else if (type.equals("text")) {
            byte[] bytes = ((String) value).getBytes(StandardCharsets.UTF_8);
            varint(bytes.length, out);
            out.writeBytes(bytes);
        } else if (type.equals("id")) {
            UUID id = UUID.fromString((String) value);
            out.writeBytes(ByteBuffer.allocate(16)
                    .putLong(id.getMostSignificantBits()).putLong(id.getLeastSignificantBits()).array());
        } else if (type.equals("bool")) {
            out.write((Boolean) value ? 1 : 0);
        } else {
            varint((Long) value, out);
        }
    }

    private void union(List<Registry.Form> forms, Object value, ByteArrayOutputStream out) {
        for (Registry.Form form : forms) {
            boolean named = value instanceof Map<?, ?> object && object.containsKey(form.name());
            if (named || form.bare() && value instanceof String) {
                varint(form.number(), out);
                value(form.type(), named ? Json.object(value).get(form.name()) : value, out);
                return;
            }
        }
        throw new IllegalArgumentException("no form of the union: " + value);
    }

    static void varint(long value, ByteArrayOutputStream out) {
        while (Long.compareUnsigned(value, 0x80) >= 0) {
            out.write((int) (value & 0x7f | 0x80));
            value >>>= 7;
        }
        out.write((int) value);
    }

    Message decode(String table, byte[] message) {
        ByteBuffer in = ByteBuffer.wrap(message);
        Registry.Kind kind = registry.kind(table, varint(in, 32));
        if (kind == null) {
            return Message.UNKNOWN;
        }
        Map<String, Object> fields = fields(kind.fields(), in);
        if (in.hasRemaining()) {
            throw new Malformed("bytes are left over");
        }
        return new Message(kind.name(), fields);
    }

    private Map<String, Object> fields(List<Registry.Field> fields, ByteBuffer in) {
        Map<String, Object> values = new LinkedHashMap<>();
        for (Registry.Field field : fields) {
            values.put(field.name(), value(field.type(), in));
            registry.checkForm(field, values.get(field.name()));
        }
        return values;
    }

    private Object value(String type, ByteBuffer in) {
        if (type.startsWith("option ")) {
            return bool(in) ? value(type.substring("option ".length()), in) : null;
        }
        if (type.startsWith("list ")) {
            // Every element takes at least one byte, so this bounds the allocation.
            int count = length(in);
            List<Object> elements = new ArrayList<>();
            for (int i = 0; i < count; i++) {
                elements.add(value(type.substring("list ".length()), in));
            }
            return elements;
        }
        if (registry.type(type) != null) {
            return fields(registry.type(type), in);
        }
        if (registry.union(type) != null) {
            return union(registry.union(type), in);
        }
        if (registry.names(type) != null) {
            return name(registry.names(type), in);
        }
        switch (type) {
            case "text":
                return text(bytes(length(in), in));
            case "id":
                ByteBuffer id = ByteBuffer.wrap(bytes(16, in));
                return new UUID(id.getLong(), id.getLong()).toString();
            case "bool":
                return bool(in);
            case "u32":
                return varint(in, 32);
            case "u64":
                return varint(in, 64);
            default:
                throw new IllegalArgumentException("the registry has a type that is new: " + type);
        }
    }

    private Object union(List<Registry.Form> forms, ByteBuffer in) {
        long number = varint(in, 32);
        for (Registry.Form form : forms) {
            if (form.number() == number) {
                Object value = value(form.type(), in);
                return form.bare() ? value : Message.server(form.name(), value);
            }
        }
        throw new Malformed("a form of a union that is not listed");
    }

    private static String name(Registry.Names names, ByteBuffer in) {
        long number = varint(in, names.closed() ? 32 : 16);
        String name = names.names().get(number);
        if (name == null && names.closed()) {
            throw new Malformed("a number that is not listed");
        }
        return name == null ? unknown(number) : name;
    }

    private static boolean bool(ByteBuffer in) {
        byte value = bytes(1, in)[0];
        if (value != 0 && value != 1) {
            throw new Malformed("neither 0 nor 1");
        }
        return value == 1;
    }

    private static int length(ByteBuffer in) {
        long length = varint(in, 64);
        if (Long.compareUnsigned(length, in.remaining()) > 0) {
            throw new Malformed("a length beyond the bytes that are there");
        }
        return (int) length;
    }

    private static byte[] bytes(int count, ByteBuffer in) {
        if (count > in.remaining()) {
            throw new Malformed("bytes are missing");
        }
        byte[] bytes = new byte[count];
        in.get(bytes);
        return bytes;
    }

    static String text(byte[] utf8) {
        try {
            CharBuffer text = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(utf8));
            return text.toString();
        } catch (CharacterCodingException e) {
            throw new Malformed("text that is not UTF-8");
        }
    }

    private static long varint(ByteBuffer in, int bits) {
        long value = 0;
        for (int shift = 0; shift < bits; shift += 7) {
            byte next = bytes(1, in)[0];
            long part = next & 0x7f;
            if (bits - shift < 7 && part >>> bits - shift != 0) {
                throw new Malformed("a number of more than " + bits + " bits");
            }
            value |= part << shift;
            if (next >= 0) {
                return value;
            }
        }
        throw new Malformed("a number in too many bytes");
    }
}
