/** Bytes or text of a peer that are not a message of the protocol. */
final class Malformed extends RuntimeException {
    private static final long serialVersionUID = 1;

    Malformed(String why) {
        super(why);
    }
}
