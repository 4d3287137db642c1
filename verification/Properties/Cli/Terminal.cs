using Harness.Stages;
using Verify;

namespace Properties.Cli;

/// <summary>Runs command lines in a folder of their own and keeps what they print.</summary>
internal sealed class Terminal : IDisposable
{
    private readonly StringWriter _out = new() { NewLine = "\n" };
    private readonly StringWriter _error = new() { NewLine = "\n" };
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("verify-");
    private readonly Surroundings _here;

    public Terminal(params IStage[] stages) =>
        _here = new Surroundings { Stages = stages, Out = _out, Error = _error, Directory = _folder.FullName, Time = Clock };

    public FakeClock Clock { get; } = new();

    public string Out => _out.ToString();

    public string Error => _error.ToString();

    public string Folder => _folder.FullName;

    /// <summary>Every file below the folder, with its content.</summary>
    public Dictionary<string, string> Files => Directory.GetFiles(Folder, "*", SearchOption.AllDirectories)
        .ToDictionary(path => Path.GetRelativePath(Folder, path), File.ReadAllText);

    /// <summary>Runs a command line, words apart by spaces, and returns its exit code.</summary>
    public int Run(string line) => Run(line, here => here);

    /// <summary>Runs a command line in surroundings changed for it.</summary>
    public int Run(string line, Func<Surroundings, Surroundings> change) =>
        Entry.Run(line.Split(' ', StringSplitOptions.RemoveEmptyEntries), change(_here));

    /// <summary>Writes a file and returns its name.</summary>
    public string Write(string name, string content)
    {
        string path = Path.Combine(Folder, name);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, content);
        return name;
    }

    /// <summary>The one line on standard error.</summary>
    public string OneErrorLine()
    {
        Assert.EndsWith("\n", Error);
        return Assert.Single(Error.TrimEnd('\n').Split('\n'));
    }

    public void Dispose() => _folder.Delete(recursive: true);
}
