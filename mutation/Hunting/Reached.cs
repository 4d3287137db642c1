using Mutation.Schema;

namespace Mutation.Hunting;

/// <summary>A file in which the mutated library notes which members that mutants change were called.</summary>
/// <param name="path">Where.</param>
internal sealed class Reached(string path)
{
    /// <summary>Makes one in which nothing is noted.</summary>
    /// <param name="folder">Where.</param>
    /// <param name="mutantCount">How many mutants there are.</param>
    public static Reached Nothing(string folder, int mutantCount)
    {
        string path = Path.Combine(folder, "reached");
        File.WriteAllBytes(path, new byte[mutantCount + 1]);
        return new(path);
    }

    /// <summary>The environment of a program that runs a mutant and notes what it reaches.</summary>
    /// <param name="number">The mutant; 0 for the library as it is.</param>
    public Dictionary<string, string> EnvironmentOf(int number) => new()
    {
        [MutantSchema.Variable] = number.ToString(System.Globalization.CultureInfo.InvariantCulture), [MutantSchema.ReachedVariable] = path,
    };

    /// <summary>Whether a member was called that the mutant changes; of 0, whether any was.</summary>
    public bool Has(int number) => number == 0 ? Numbers().Any() : File.ReadAllBytes(path)[number] != 0;

    /// <summary>All mutants of which one was.</summary>
    public IEnumerable<int> Numbers() => File.ReadAllBytes(path).Index().Where(static noted => noted.Item != 0).Select(static noted => noted.Index);
}
