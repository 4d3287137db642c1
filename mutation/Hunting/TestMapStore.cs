using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Mutation.Schema;

namespace Mutation.Hunting;

/// <summary>
/// Keeps which tests reach which mutants. It is kept under a hash of all that the tests consist of: the mutated library, their assemblies and whatever else is in
/// their folder, and the runtime. What it is measured from can so be no other when it is read again.
/// </summary>
/// <param name="folder">Where.</param>
internal sealed class TestMapStore(string folder)
{
    /// <summary>The name of what is measured from these.</summary>
    /// <param name="programs">The tests.</param>
    /// <param name="assemblies">Which of their assemblies are looked at.</param>
    /// <param name="part">What the classes have in their names that are.</param>
    public static string NameOf(TestPrograms programs, IEnumerable<string> assemblies, string part)
    {
        using var all = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        all.AppendData(Encoding.UTF8.GetBytes($"1 {Environment.Version} {string.Join(' ', assemblies)} {part}"));
        foreach (string file in Directory.GetFiles(programs.Folder, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal))
        {
            all.AppendData(Encoding.UTF8.GetBytes(Path.GetRelativePath(programs.Folder, file)));
            all.AppendData(SHA256.HashData(File.ReadAllBytes(file)));
        }

        return Convert.ToHexStringLower(all.GetHashAndReset());
    }

    /// <summary>What was kept; null if nothing was.</summary>
    public TestMap? Find(string name) => File.Exists(PathOf(name)) ? JsonSerializer.Deserialize<TestMap>(File.ReadAllText(PathOf(name))) : null;

    /// <summary>Keeps it, unless a test failed: that may have been the machine's doing.</summary>
    public void Keep(string name, TestMap map)
    {
        if (!map.LeftOut.IsEmpty) return;
        Directory.CreateDirectory(folder);
        // Another process may read it.
        string written = Path.Combine(folder, Path.GetRandomFileName());
        File.WriteAllText(written, JsonSerializer.Serialize(map));
        File.Move(written, PathOf(name), overwrite: true);
    }

    private string PathOf(string name) => Path.Combine(folder, $"{name}.json");
}
