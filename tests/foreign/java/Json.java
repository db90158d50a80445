import java.math.BigInteger;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * JSON as strict as section 3.3 asks: no member twice, no unpaired surrogate, no number beyond a
 * double, at most 100 levels. Whole numbers from 0 to 2^64 - 1 are {@code Long}s, read as unsigned;
 * every other number is a {@code Double} and fits no field of the protocol.
 */
final class Json {
    private static final int LEVELS = 100;
    private static final BigInteger BEYOND_64_BITS = BigInteger.ONE.shiftLeft(64);

    private final String text;
    private int at;

    private Json(String text) {
        this.text = text;
    }

    static Object parse(String text) {
        Json json = new Json(text);
        json.space();
        Object value = json.value(0);
        json.space();
        if (json.at != text.length()) {
            throw new Malformed("something follows the JSON value");
        }
        return value;
    }

    @SuppressWarnings("unchecked")
    static Map<String, Object> object(Object value) {
        if (value instanceof Map) {
            return (Map<String, Object>) value;
        }
        throw new Malformed("not an object: " + value);
    }

    @SuppressWarnings("unchecked")
    static List<Object> array(Object value) {
        if (value instanceof List) {
            return (List<Object>) value;
        }
        throw new Malformed("not an array: " + value);
    }

    private Object value(int level) {
        if (level > LEVELS) {
            throw new Malformed("nested deeper than " + LEVELS + " levels");
        }
        switch (peek()) {
            case '{':
                return members(level + 1);
            case '[':
                return elements(level + 1);
            case '"':
                return string();
            case 't':
                return word("true", true);
            case 'f':
                return word("false", false);
            case 'n':
                return word("null", null);
            default:
                return number();
        }
    }

    private Map<String, Object> members(int level) {
        if (level > LEVELS) {
            throw new Malformed("nested deeper than " + LEVELS + " levels");
        }
        Map<String, Object> members = new LinkedHashMap<>();
        at++;
        space();
        if (taken('}')) {
            return members;
        }
        do {
            space();
            if (peek() != '"') {
                throw new Malformed("a member without a name");
            }
            String name = string();
            space();
            expect(':');
            space();
            Object value = value(level);
            if (members.containsKey(name)) {
                throw new Malformed("a member twice: " + name);
            }
            members.put(name, value);
            space();
        } while (taken(','));
        expect('}');
        return members;
    }

    private List<Object> elements(int level) {
        if (level > LEVELS) {
            throw new Malformed("nested deeper than " + LEVELS + " levels");
        }
        List<Object> elements = new ArrayList<>();
        at++;
        space();
        if (taken(']')) {
            return elements;
        }
        do {
            space();
            elements.add(value(level));
            space();
        } while (taken(','));
        expect(']');
        return elements;
    }

    private String string() {
        StringBuilder out = new StringBuilder();
        at++;
        while (true) {
            char c = peek();
            at++;
            if (c == '"') {
                break;
            }
            if (c < ' ') {
                throw new Malformed("a control character in a string");
            }
            out.append(c == '\\' ? escaped() : c);
        }
        String string = out.toString();
        if (!isPaired(string)) {
            throw new Malformed("an unpaired surrogate");
        }
        return string;
    }

    private char escaped() {
        char c = peek();
        at++;
        switch (c) {
            case '"':
            case '\\':
            case '/':
                return c;
            case 'b':
                return '\b';
            case 'f':
                return '\f';
            case 'n':
                return '\n';
            case 'r':
                return '\r';
            case 't':
                return '\t';
            case 'u':
                int unit = 0;
                for (int digits = 0; digits < 4; digits++, at++) {
                    char digit = peek();
                    int value = digit > 'f' ? -1 : Character.digit(digit, 16);
                    if (value < 0) {
                        throw new Malformed("an escape without four digits");
                    }
                    unit = unit << 4 | value;
                }
                return (char) unit;
            default:
                throw new Malformed("an unknown escape");
        }
    }

    private Object number() {
        int from = at;
        taken('-');
        if (!taken('0')) {
            digits();
        }
        boolean whole = true;
        if (taken('.')) {
            whole = false;
            digits();
        }
        if (taken('e') || taken('E')) {
            whole = false;
            if (!taken('+')) {
                taken('-');
            }
            digits();
        }
        String number = text.substring(from, at);
        double value = Double.parseDouble(number);
        if (Double.isInfinite(value)) {
            throw new Malformed("a number beyond the range of a double");
        }
        if (whole && !number.startsWith("-")) {
            BigInteger integer = new BigInteger(number);
            if (integer.compareTo(BEYOND_64_BITS) < 0) {
                return integer.longValue();
            }
        }
        return value;
    }

    private void digits() {
        int from = at;
        while (at < text.length() && text.charAt(at) >= '0' && text.charAt(at) <= '9') {
            at++;
        }
        if (at == from) {
            throw new Malformed("no JSON value");
        }
    }

    private Object word(String word, Object value) {
        if (!text.startsWith(word, at)) {
            throw new Malformed("no JSON value");
        }
        at += word.length();
        return value;
    }

    private void space() {
        while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) {
            at++;
        }
    }

    private char peek() {
        if (at == text.length()) {
            throw new Malformed("the JSON text ends too soon");
        }
        return text.charAt(at);
    }

    private boolean taken(char c) {
        if (at < text.length() && text.charAt(at) == c) {
            at++;
            return true;
        }
        return false;
    }

    private void expect(char c) {
        if (!taken(c)) {
            throw new Malformed("JSON without its " + c);
        }
    }

    /** Whether a text can be written in UTF-8. */
    static boolean isPaired(String text) {
        for (int at = 0; at < text.length(); at++) {
            char c = text.charAt(at);
            if (Character.isHighSurrogate(c)) {
                at++;
                if (at == text.length() || !Character.isLowSurrogate(text.charAt(at))) {
                    return false;
                }
            } else if (Character.isLowSurrogate(c)) {
                return false;
            }
        }
        return true;
    }

    static String write(Object value) {
        StringBuilder out = new StringBuilder();
        write(value, out);
        return out.toString();
    }

    private static void write(Object value, StringBuilder out) {
        if (value instanceof Map) {
            String separator = "";
            out.append('{');
            for (Map.Entry<String, Object> member : object(value).entrySet()) {
                out.append(separator);
                quote(member.getKey(), out);
                out.append(':');
                write(member.getValue(), out);
                separator = ",";
            }
            out.append('}');
        } else if (value instanceof List) {
            String separator = "";
            out.append('[');
            for (Object element : array(value)) {
                out.append(separator);
                write(element, out);
                separator = ",";
            }
            out.append(']');
        } else if (value instanceof String) {
            quote((String) value, out);
        } else if (value instanceof Long) {
            out.append(Long.toUnsignedString((Long) value));
        } else {
            out.append(value);
        }
    }

    private static void quote(String text, StringBuilder out) {
        out.append('"');
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') {
                out.append('\\').append(c);
            } else if (c < ' ') {
                out.append(String.format("\\u%04x", (int) c));
            } else {
                out.append(c);
            }
        }
        out.append('"');
    }
}
