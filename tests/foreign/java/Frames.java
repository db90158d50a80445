import java.io.ByteArrayOutputStream;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Frames on a QUIC stream (section 3.4): a message with its length in front. */
final class Frames {
    private static final int LENGTH_BYTES = 4;

    static byte[] frame(byte[] message) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        Postcard.varint(message.length, out);
        out.writeBytes(message);
        return out.toByteArray();
    }

    /** The complete messages; if the stream has ended, no incomplete one may be left. */
    static List<byte[]> read(byte[] stream, boolean ended, int limit) {
        List<byte[]> messages = new ArrayList<>();
        int at = 0;
        while (at < stream.length) {
            int length = 0;
            int bytes = 0;
            byte next;
            do {
                if (bytes == LENGTH_BYTES) {
                    throw new Malformed("a length of more than " + LENGTH_BYTES + " bytes");
                }
                if (at == stream.length) {
                    return incomplete(messages, ended);
                }
                next = stream[at++];
                length |= (next & 0x7f) << 7 * bytes++;
            } while (next < 0);
            if (bytes > 1 && next == 0) {
                throw new Malformed("a length that is not in its shortest form");
            }
            if (length == 0 || length > limit) {
                throw new Malformed("a frame of length " + length);
            }
            if (length > stream.length - at) {
                return incomplete(messages, ended);
            }
            messages.add(Arrays.copyOfRange(stream, at, at + length));
            at += length;
        }
        return messages;
    }

    private static List<byte[]> incomplete(List<byte[]> messages, boolean ended) {
        if (ended) {
            throw new Malformed("the stream ends inside a frame");
        }
        return messages;
    }

    private Frames() {}
}
