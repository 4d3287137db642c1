namespace MutantHost;

/// <summary>
/// Which mutants are found because a test does not end, or because the process ended under it. Stryker.NET would wait long for the one and could say
/// nothing of the other, so both are told to it as a test that failed, and are written down here: <c>verify mutate</c> tells them apart.
/// </summary>
/// <param name="runner">What is another for each of those who run tests at the same time.</param>
internal sealed class Unended(string runner)
{
    private readonly string _told = Path.Combine(FolderOf(AppContext.BaseDirectory), $"{runner}.txt");
    private readonly string _running = Path.Combine(Path.GetTempPath(), $"{runner}.running");

    /// <summary>Where they are written down: a file for each of those who run tests, a number in each line.</summary>
    /// <param name="tests">Where the tests are.</param>
    public static string FolderOf(string tests) => Path.Combine(tests, "unended");

    /// <summary>Forgets those of an earlier run.</summary>
    public static void Clear()
    {
        string folder = FolderOf(AppContext.BaseDirectory);
        if (Directory.Exists(folder)) Directory.Delete(folder, recursive: true);
        Directory.CreateDirectory(folder);
    }

    /// <summary>A test begins with a mutant active.</summary>
    public void Begin(int mutant, string test) => File.WriteAllText(_running, $"{mutant}\n{test}");

    /// <summary>It is over.</summary>
    public void End() => File.Delete(_running);

    /// <summary>The test under which another process ended with that mutant active; null if none did.</summary>
    public string? DiedIn(int mutant) => File.Exists(_running) && File.ReadAllText(_running).Split('\n') is [var number, var test] && number == $"{mutant}" ? test : null;

    /// <summary>Writes a mutant down.</summary>
    public void Tell(int mutant) => File.AppendAllText(_told, $"{mutant}\n");
}
