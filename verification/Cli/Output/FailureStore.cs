using System.Security.Cryptography;
using System.Text;
using Harness;
using Harness.Stages;
using Vcmm.Spec;

namespace Verify.Output;

/// <summary>Writes failures as files named by invariant and content, so that a failure found twice is one file.</summary>
/// <param name="here">Where relative paths begin.</param>
/// <param name="folder">The folder, as the user gave it; made when the first failure is written.</param>
internal sealed class FailureStore(Surroundings here, string folder)
{
    private readonly Dictionary<string, string> _pathByContent = [];

    /// <summary>Why a failure could not be written, on one line; null if all were.</summary>
    public string? Problem { get; private set; }

    /// <summary>A failure's file name.</summary>
    public static string NameOf(Invariant invariant, string content) =>
        $"{invariant.Id()}-{invariant}-{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(content)))[..12]}.json";

    /// <summary>Looks whether the folder can be one, before anything is run.</summary>
    /// <exception cref="BadInputException">It is a file.</exception>
    public void Check()
    {
        if (folder.Length == 0) throw new BadInputException("--failures: the name is empty; expected a directory");
        if (File.Exists(here.Resolve(folder))) throw new BadInputException($"--failures: {folder} is a file; expected a directory, or a name for a new one");
    }

    /// <summary>Writes those failures that have a file.</summary>
    public void Save(IEnumerable<StageFailure> failures)
    {
        foreach (StageFailure failure in failures)
        {
            if (failure.FileContent is not { } content || _pathByContent.ContainsKey(content)) continue;
            string path = Path.Combine(folder, NameOf(failure.Invariant, content));
            try
            {
                Directory.CreateDirectory(here.Resolve(folder));
                WholeFile.Write(here.Resolve(path), content);
                _pathByContent[content] = path;
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                Problem ??= $"--failures: a failure cannot be written to {folder}: {e.Message}";
            }
        }
    }

    /// <summary>Where the failure is, as a path like the folder's; null if it has no file.</summary>
    public string? PathOf(StageFailure failure) => failure.FileContent is { } content ? _pathByContent.GetValueOrDefault(content) : null;
}

/// <summary>Files that are there whole or not at all.</summary>
internal static class WholeFile
{
    /// <summary>Writes UTF-8 without a mark at its beginning. A reader never sees half of it.</summary>
    public static void Write(string path, string content)
    {
        string part = path + ".part";
        try
        {
            File.WriteAllText(part, content);
            File.Move(part, path, overwrite: true);
        }
        catch
        {
            File.Delete(part);
            throw;
        }
    }
}
