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
            case "live":
                live(registry, arguments).check(arguments[5]);
                break;
            case "chaos":
                new Chaos(live(registry, arguments), Long.parseLong(arguments[5])).check();
                break;
            default:
                throw new IllegalArgumentException("no such test: " + arguments[1]);
        }
        System.exit(0); // the library's threads would keep the process for a while
    }

    /** {@code ADDRESS CA TOKEN}, behind the test's name. */
    private static Live live(Registry registry, String[] arguments) throws Exception {
        return new Live(registry, arguments[2], Path.of(arguments[3]), arguments[4]);
    }
}
