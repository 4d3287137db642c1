using MutantHost;

namespace Conformance;

/// <summary>What Stryker.NET starts; all others take the tests as a library.</summary>
internal static class Program
{
    public static int Main(string[] args) =>
        Host.IsAskedFor(args) ? Host.Run(args, typeof(Program).Assembly) : throw new ArgumentException("these tests are run by dotnet test");
}
