namespace Properties.Mutating;

/// <summary>A test that ends unless <see cref="MutantHostLaws"/> has it loop, as a mutant would.</summary>
[Collection(nameof(MutantHostLaws))]
public sealed class Loops
{
    private static volatile bool _isEndless;

    /// <summary>Whether it loops.</summary>
    internal static bool IsEndless
    {
        get => _isEndless;
        set => _isEndless = value;
    }

    [Fact]
    public void Ends()
    {
        while (IsEndless) Thread.SpinWait(100);
        Assert.False(IsEndless);
    }
}
