import java.nio.file.Path;

/** The client's tests, for the command line: {@code Main VECTORS TEST [ARGUMENT...]}. */
final class Main {
    public static void main(String[] arguments) throws Exception {
        Path vectors = Path.of(arguments[0]);
        Registry registry = new Registry(vectors);
        switch (arguments[1]) {
            case "vectors":
                new Vectors(vectors, registry).check();
                break;
            case "transcripts":
                new Transcripts(vectors, registry).check();
                break;
            default:
                throw new IllegalArgumentException("no such test: " + arguments[1]);
        }
    }
}
