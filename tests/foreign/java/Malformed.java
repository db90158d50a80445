/** The fault of a peer: bytes or text that no message of the protocol looks like. */
final class Malformed extends RuntimeException {
    private static final long serialVersionUID = 1;

    Malformed(String why) {
        super(why);
    }
}
