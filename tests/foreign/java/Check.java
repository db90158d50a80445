import java.util.Objects;

/** Assertions whose messages name the expected value. */
final class Check {
    static void that(boolean holds, String otherwise, Object... about) {
        if (!holds) {
            throw new AssertionError(String.format(otherwise, about));
        }
    }

    static void equal(Object expected, Object actual, String about) {
        that(Objects.equals(expected, actual), "%s%n  expected %s%n  was      %s", about, expected, actual);
    }

    private Check() {}
}
