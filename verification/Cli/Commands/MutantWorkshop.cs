using Harness.Schedules;
using Mutation.Hunting;
using Mutation.Schema;

namespace Verify.Commands;

/// <summary>Where mutants of the library are built.</summary>
/// <param name="Root">The root of the repository.</param>
/// <param name="Sources">The library.</param>
/// <param name="Here">The command's surroundings.</param>
internal sealed record MutantWorkshop(string Root, LibrarySources Sources, Surroundings Here)
{
#if DEBUG
    private const string Configuration = "Debug";
#else
    private const string Configuration = "Release";
#endif

    /// <summary>Reads the sources of the checkout.</summary>
    /// <exception cref="EnvironmentException">This is no checkout, or not all is built.</exception>
    public static MutantWorkshop Open(Surroundings here)
    {
        string root = Repository.RootOf(here.Directory);
        if (ScheduleHunt.MissingOf(here.ScheduleWorker) is { } missing) throw new EnvironmentException($"no schedule can be run here: {missing}");
        return new(root, LibrarySources.Read(root, "src/Vcmm/Vcmm.csproj", Configuration), here);
    }

    /// <summary>Builds the library with all mutants in it, and the programs that hunt them.</summary>
    /// <param name="folder">The folder under <c>artifacts</c>; what is there goes.</param>
    /// <param name="mutants">The mutants.</param>
    /// <param name="withTests">Whether the project's own tests are to hunt, too.</param>
    /// <param name="helpers">What they call.</param>
    /// <exception cref="EnvironmentException">The tests are not built.</exception>
    public (MutatedLibrary Library, Hunter Hunter) Build(string folder, IReadOnlyList<Mutant> mutants, bool withTests, string helpers = "")
    {
        if (withTests && TestPrograms.MissingOf(AppContext.BaseDirectory, Root, Configuration) is { } missing)
            throw new EnvironmentException($"no test can be run here: {missing}; expected all of Verification.sln to be built as {Configuration}");
        MutatedLibrary library = MutantSchema.Compile(Sources, mutants, helpers);
        MutatedPrograms programs = MutatedPrograms.Make(AppContext.BaseDirectory, library, Path.Combine(Root, "artifacts", folder), Root, Configuration, withTests);
        return (library, new(programs, Here.Time));
    }
}
