using System.Collections.Immutable;
using System.Globalization;
using System.Text;
using Harness;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.Text;

namespace Mutation.Schema;

/// <summary>
/// All mutants in one assembly: each member that any of them changes has its body once for each of these, and once as it is, and the number in an
/// environment variable says which runs (Untch, Offutt and Harrold, 1993). What cannot be compiled is left out and named.
/// </summary>
public static class MutantSchema
{
    /// <summary>The environment variable with the number of the mutant to run; 0, or none: the library as it is.</summary>
    public const string Variable = "VCMM_MUTANT";

    /// <summary>The environment variable with the file in which is noted what is reached: a byte for each number, 1 where a member was called that the mutant changes.</summary>
    public const string ReachedVariable = "VCMM_MUTANTS_REACHED";

    private const int MostTries = 20;

    private const string Switch =
        $$"""
        namespace Vcmm
        {
            internal static unsafe class ActiveMutant
            {
                private static readonly int s_number =
                    int.TryParse(System.Environment.GetEnvironmentVariable("{{Variable}}"), System.Globalization.CultureInfo.InvariantCulture, out int number) ? number : 0;

                private static readonly System.IO.MemoryMappedFiles.MemoryMappedViewAccessor? s_view = Open();
                private static readonly byte* s_reached = BytesOf(s_view);

                public static bool Is(int number)
                {
                    if (s_reached != null) s_reached[number] = 1;
                    return s_number == number;
                }

                // Mapped, so that processes share it, and one that is ended has noted what it reached.
                private static System.IO.MemoryMappedFiles.MemoryMappedViewAccessor? Open() =>
                    System.Environment.GetEnvironmentVariable("{{ReachedVariable}}") is { Length: > 0 } path
                        ? System.IO.MemoryMappedFiles.MemoryMappedFile.CreateFromFile(path, System.IO.FileMode.Open).CreateViewAccessor()
                        : null;

                private static byte* BytesOf(System.IO.MemoryMappedFiles.MemoryMappedViewAccessor? view)
                {
                    byte* bytes = null;
                    if (view != null) view.SafeMemoryMappedViewHandle.AcquirePointer(ref bytes);
                    return bytes;
                }
            }
        }
        """;

    /// <summary>Compiles the library with all mutants in it.</summary>
    /// <param name="sources">The library.</param>
    /// <param name="mutants">The mutants; the number of each is its place in the list, from 1.</param>
    /// <param name="helpers">What mutants call: a file of its own; may be empty.</param>
    /// <exception cref="BadInputException">A mutant changes what is not in a body, or two stretches that overlap.</exception>
    /// <exception cref="InvalidOperationException">The library itself does not compile.</exception>
    public static MutatedLibrary Compile(LibrarySources sources, IReadOnlyList<Mutant> mutants, string helpers = "")
    {
        Place[] places = [.. mutants.SelectMany((mutant, i) => PlacesOf(sources, mutant, i + 1))];
        var broken = new Dictionary<int, string>();
        for (int i = 0; i < MostTries; i++)
        {
            List<(SyntaxTree Tree, List<(TextSpan Span, int Number)> Copies)> files = [];
            ILookup<string, Place> byFile = places.Where(place => !broken.ContainsKey(place.Number)).ToLookup(static place => place.File);
            foreach (SyntaxTree tree in sources.Trees) files.Add(Rewrite(sources, tree, byFile[sources.PathOf(tree)]));
            CSharpCompilation compilation = CSharpCompilation.Create(
                sources.AssemblyName, [.. files.Select(static file => file.Tree), CSharpSyntaxTree.ParseText(Switch, sources.ParseOptions), CSharpSyntaxTree.ParseText(helpers, sources.ParseOptions)],
                sources.References, sources.Options.WithAllowUnsafe(true));
            using var image = new MemoryStream();
            Diagnostic[] errors = [.. compilation.Emit(image).Diagnostics.Where(static found => found.Severity == DiagnosticSeverity.Error)];
            if (errors.Length == 0) return new(image.ToArray(), mutants, broken.ToImmutableDictionary());
            foreach (Diagnostic error in errors)
            {
                (_, List<(TextSpan Span, int Number)> copies) = files.FirstOrDefault(file => file.Tree == error.Location.SourceTree);
                (TextSpan _, int number) = copies?.FirstOrDefault(copy => copy.Span.Contains(error.Location.SourceSpan)) ?? default;
                if (number == 0) throw new InvalidOperationException($"the mutated library does not compile: {error}");
                broken.TryAdd(number, error.GetMessage(CultureInfo.InvariantCulture));
            }
        }

        throw new InvalidOperationException($"the mutated library does not compile after {MostTries} tries");
    }

    private static IEnumerable<Place> PlacesOf(LibrarySources sources, Mutant mutant, int number)
    {
        foreach (SourceEdit edit in mutant.Edits)
        {
            MemberBody body = sources.BodiesOf(edit.File).FirstOrDefault(body => body.Contains(edit.Span))
                ?? throw new BadInputException($"{mutant.Name}: {edit.File} is changed outside of the body of a method, an accessor or an operator");
            yield return new(edit.File, body, number, edit);
        }
    }

    private static (SyntaxTree Tree, List<(TextSpan Span, int Number)> Copies) Rewrite(LibrarySources sources, SyntaxTree tree, IEnumerable<Place> places)
    {
        string text = tree.ToString();
        var copies = new List<(TextSpan, int)>();
        var written = new StringBuilder();
        int done = 0;
        foreach (IGrouping<MemberBody, Place> changed in places.GroupBy(static place => place.Body).OrderBy(static group => group.Key.Span.Start))
        {
            MemberBody body = changed.Key;
            written.Append(text, done, body.Span.Start - done).Append(body.Kind == BodyKind.Getter ? "{ get { " : "{ ");
            foreach (IGrouping<int, Place> mutant in changed.GroupBy(static place => place.Number))
            {
                written.Append(CultureInfo.InvariantCulture, $"if (global::Vcmm.ActiveMutant.Is({mutant.Key}))\n");
                int start = written.Length;
                written.Append(body.ToBlock(Changed(text, body.Code, mutant.Select(static place => place.Edit))));
                copies.Add((TextSpan.FromBounds(start, written.Length), mutant.Key));
                written.Append("\nelse ");
            }

            written.Append(body.ToBlock(text.Substring(body.Code.Start, body.Code.Length))).Append(body.Kind == BodyKind.Getter ? " } }" : " }");
            done = body.Span.End;
        }

        if (copies.Count == 0) return (tree, copies);
        written.Append(text, done, text.Length - done);
        return (CSharpSyntaxTree.ParseText(written.ToString(), sources.ParseOptions, tree.FilePath), copies);
    }

    private static string Changed(string text, TextSpan code, IEnumerable<SourceEdit> edits)
    {
        var written = new StringBuilder();
        int done = code.Start;
        foreach (SourceEdit edit in edits.OrderBy(static edit => edit.Span.Start))
        {
            if (edit.Span.Start < done) throw new BadInputException($"{edit.File}: two changes overlap");
            written.Append(text, done, edit.Span.Start - done).Append(edit.NewText);
            done = edit.Span.End;
        }

        return written.Append(text, done, code.End - done).ToString();
    }

    private sealed record Place(string File, MemberBody Body, int Number, SourceEdit Edit);
}

/// <summary>The library with all mutants in it.</summary>
/// <param name="Image">The assembly.</param>
/// <param name="Mutants">The mutants; the number of each is its place, from 1.</param>
/// <param name="Broken">Those that do not compile, by number, and why.</param>
public sealed record MutatedLibrary(byte[] Image, IReadOnlyList<Mutant> Mutants, ImmutableDictionary<int, string> Broken);
