using System.Reflection;

namespace Properties.Guide;

/// <summary>docs/library.md shows code: all of it is in the tests beside this one, which compile and run it.</summary>
public sealed class GuideText
{
    private static readonly string[][] Tests = [.. ResourceNames("guided/").Select(static name => Lines(Read(name)))];

    [Fact]
    public void What_the_guide_shows_is_what_the_tests_run()
    {
        string[] blocks = [.. Blocks("guide/library.md", "csharp")];
        Assert.InRange(blocks.Length, 8, 64);
        Assert.All(blocks, static block => Assert.True(IsRun(block), $"no test runs{Environment.NewLine}{block}"));
    }

    /// <summary>What stands between fences of a language, without the last line's end.</summary>
    public static IEnumerable<string> Blocks(string guide, string language)
    {
        string[] parts = Read(guide).Split("```");
        for (int i = 1; i < parts.Length; i += 2)
        {
            if (parts[i].StartsWith(language + "\n", StringComparison.Ordinal)) yield return parts[i][(language.Length + 1)..].TrimEnd('\n');
        }
    }

    public static IEnumerable<string> ResourceNames(string folder) =>
        Assembly.GetExecutingAssembly().GetManifestResourceNames().Where(name => name.StartsWith(folder, StringComparison.Ordinal));

    public static string Read(string name)
    {
        using var reader = new StreamReader(Assembly.GetExecutingAssembly().GetManifestResourceStream(name)!);
        return reader.ReadToEnd().ReplaceLineEndings("\n");
    }

    [Theory]
    [InlineData("buffer.Back(memory);", "buffer.Back(memories);")]
    [InlineData("association.Activate();\n", "")]
    [InlineData("memory.Free();", "buffer.Back(memory);")]
    public void What_no_test_runs_is_seen(string right, string wrong)
    {
        string block = Blocks("guide/library.md", "csharp").First();
        Assert.True(IsRun(block));
        Assert.Contains(right, block, StringComparison.Ordinal);
        // A guide may show less than the test does, but nothing else and in no other order.
        Assert.Equal(wrong.Length == 0, IsRun(block.Replace(right, wrong, StringComparison.Ordinal)));
    }

    /// <summary>Whether the lines of a block stand in a test in their order; what it asserts, and how it begins, may stand between them.</summary>
    private static bool IsRun(string block)
    {
        string[] shown = Lines(block);
        return Array.Exists(Tests, test =>
        {
            int next = 0;
            foreach (string line in test)
            {
                if (next < shown.Length && line == shown[next]) next++;
            }

            return next == shown.Length;
        });
    }

    /// <summary>Without indentation, which depends on where they stand.</summary>
    private static string[] Lines(string text) => [.. text.Split('\n').Select(static line => line.Trim()).Where(static line => line.Length != 0)];
}
