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
        Assert.Equal(printed, string.Concat(GuideText.Blocks("guide/simulator.md", "text").Select(static block => block + "\n")));
        Assert.Equal(printed, Print());
    }

    [Fact]
    public void The_guides_code_is_the_examples()
    {
        string[] sources = [.. GuideText.ResourceNames("example/").Select(static name => Flatten(GuideText.Read(name)))];
        string[] blocks = [.. GuideText.Blocks("guide/simulator.md", "csharp")];
        Assert.NotEmpty(blocks);
        Assert.All(blocks, block => Assert.Contains(sources, source => source.Contains(Flatten(block), StringComparison.Ordinal)));
    }

    private static string Print()
    {
        using var output = new StringWriter { NewLine = "\n" };
        Tour.Run(output);
        return output.ToString();
    }

    /// <summary>Lines without their indentation, which depends on where they stand.</summary>
    private static string Flatten(string text) => "\n" + string.Join('\n', text.Split('\n').Select(static line => line.Trim())) + "\n";
}
