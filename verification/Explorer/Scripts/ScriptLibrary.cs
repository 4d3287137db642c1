using System.Reflection;
using System.Text.Json.Nodes;
using Explorer.Scenarios;

namespace Explorer.Scripts;

/// <summary>The scripts in the folder <c>Library</c>.</summary>
public static class ScriptLibrary
{
    private const string Folder = "scripts/", Extension = ".json";

    /// <summary>All, by name.</summary>
    public static IReadOnlyList<ConcurrentScenario> All { get; } =
        [.. Names.Order(StringComparer.Ordinal).Select(static name => Read(name).ToScenario())];

    private static IEnumerable<string> Names => Assembly.GetExecutingAssembly().GetManifestResourceNames()
        .Where(static name => name.StartsWith(Folder, StringComparison.Ordinal)).Select(static name => name[Folder.Length..^Extension.Length]);

    private static Script Read(string name)
    {
        using Stream stream = Assembly.GetExecutingAssembly().GetManifestResourceStream(Folder + name + Extension)!;
        return Script.FromJson(name, JsonNode.Parse(stream));
    }
}
