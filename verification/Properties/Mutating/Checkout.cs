namespace Properties.Mutating;

/// <summary>The checkout in which these tests were built.</summary>
internal static class Checkout
{
#if DEBUG
    public const string Configuration = "Debug";
#else
    public const string Configuration = "Release";
#endif

    /// <summary>Its root.</summary>
    public static string Root { get; } = Find();

    private static string Find()
    {
        DirectoryInfo? at = new(AppContext.BaseDirectory);
        while (at is not null && !File.Exists(Path.Combine(at.FullName, "Verification.sln"))) at = at.Parent;
        return at?.FullName ?? throw new InvalidOperationException("these tests run in a checkout");
    }
}
