using System.Reflection;
using Harness.Generating;

namespace MutantHost;

/// <summary>
/// Which mutant is active in this process. Stryker.NET writes its number into a file, and its class in a mutated assembly would read it at every place that
/// was changed; here it is read once for each run, and written to that class's field.
/// </summary>
internal static class ActiveMutant
{
    /// <summary>No mutant is active.</summary>
    public const int None = -1;

    private const string FileVariable = "STRYKER_MUTANT_FILE";

    private static FieldInfo[] _fields = [], _notes = [], _locks = [];
    private static object?[] _held = [];
    private static string? _file;

    /// <summary>What no other that runs tests at the same time is called.</summary>
    public static string Runner => _file is null ? "none" : Path.GetFileNameWithoutExtension(_file);

    /// <summary>Takes the choice over, before any code runs that may be mutated.</summary>
    public static void Start(IEnumerable<Type> controls)
    {
        // Whoever asks later whether mutants are run looks for a variable that is gone by then.
        _ = UnderMutation.IsOn;
        _file = Environment.GetEnvironmentVariable(FileVariable);
        Environment.SetEnvironmentVariable(FileVariable, null);
        _fields = FieldsOf(controls, "ActiveMutant");
        _notes = FieldsOf(controls, "CaptureCoverage");
        _locks = FieldsOf(controls, "_coverageLock");
        Set(None);
    }

    /// <summary>The number of the mutant that is to be tried.</summary>
    public static int Read() => _file is not null && File.Exists(_file) && File.ReadAllBytes(_file) is { Length: >= sizeof(int) } bytes ? BitConverter.ToInt32(bytes) : None;

    /// <summary>Makes a mutant the active one.</summary>
    public static void Set(int number)
    {
        // If nothing here is mutated, what the tests come to is not about a mutant.
        if (_fields.Length == 0 && number != None) throw new InvalidOperationException("no assembly has mutants: Stryker.NET's class MutantControl was not found");
        foreach (FieldInfo field in _fields) field.SetValue(null, number);
    }

    /// <summary>
    /// Has each place that was changed throw, until <see cref="Resume"/>: there is no other way to end a test that a mutant made endless. The class that is asked there which
    /// mutant is active believes that it is to note what is covered, and finds nothing to lock.
    /// </summary>
    public static void Interrupt()
    {
        _held = Array.ConvertAll(_locks, static field => field.GetValue(null));
        foreach (FieldInfo field in _locks) field.SetValue(null, null);
        foreach (FieldInfo field in _notes) field.SetValue(null, true);
    }

    /// <summary>Ends that.</summary>
    public static void Resume()
    {
        foreach (FieldInfo field in _notes) field.SetValue(null, false);
        for (int i = 0; i < _held.Length; i++) _locks[i].SetValue(null, _held[i]);
        _held = [];
    }

    private static FieldInfo[] FieldsOf(IEnumerable<Type> controls, string name) =>
        [.. controls.Select(control => control.GetField(name, BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Static)!)];
}
