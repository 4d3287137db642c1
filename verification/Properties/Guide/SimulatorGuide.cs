using System.Reflection;
using BareIommu;

namespace Properties.Guide;

/// <summary>docs/simulator.md says what examples/BareIommu does, and shows the code that does it.</summary>
public sealed class SimulatorGuide
{
    [Fact]
    public void What_the_guide_shows_is_what_the_example_prints()
    {
        string printed = Print();
        Assert.NotEmpty(printed);
        Assert.Equal(printed, string.Concat(Blocks("text").Select(static block => block + "\n")));
        Assert.Equal(printed, Print());
    }

    [Fact]
    public void The_guides_code_is_the_examples()
    {
        string[] sources = [.. ResourceNames("example/").Select(static name => Flatten(Read(name)))];
        string[] blocks = [.. Blocks("csharp")];
        Assert.NotEmpty(blocks);
        Assert.All(blocks, block => Assert.Contains(sources, source => source.Contains(Flatten(block), StringComparison.Ordinal)));
    }

    private static string Print()
    {
        using var output = new StringWriter { NewLine = "\n" };
        Tour.Run(output);
        return output.ToString();
    }

    /// <summary>What stands between fences of a language, without the last line's end.</summary>
    private static IEnumerable<string> Blocks(string language)
    {
        string[] parts = Read("guide/simulator.md").Split("```");
        for (int i = 1; i < parts.Length; i += 2)
        {
            if (parts[i].StartsWith(language + "\n", StringComparison.Ordinal)) yield return parts[i][(language.Length + 1)..].TrimEnd('\n');
        }
    }

    /// <summary>Lines without their indentation, which depends on where they stand.</summary>
    private static string Flatten(string text) => "\n" + string.Join('\n', text.Split('\n').Select(static line => line.Trim())) + "\n";

    private static IEnumerable<string> ResourceNames(string folder) =>
        Assembly.GetExecutingAssembly().GetManifestResourceNames().Where(name => name.StartsWith(folder, StringComparison.Ordinal));

    private static string Read(string name)
    {
        using var reader = new StreamReader(Assembly.GetExecutingAssembly().GetManifestResourceStream(name)!);
        return reader.ReadToEnd().ReplaceLineEndings("\n");
    }
}
