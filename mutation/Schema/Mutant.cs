using System.Collections.Immutable;
using Microsoft.CodeAnalysis.Text;

namespace Mutation.Schema;

/// <summary>A stretch of a file's text that becomes another.</summary>
/// <param name="File">The file, from the root of the repository.</param>
/// <param name="Span">Characters of its text.</param>
/// <param name="NewText">What stands there instead.</param>
public sealed record SourceEdit(string File, TextSpan Span, string NewText);

/// <summary>The library with one mistake in it.</summary>
/// <param name="Name">Unlike any other's.</param>
/// <param name="Operator">What kind of mistake.</param>
/// <param name="Summary">What is wrong, in a few words.</param>
/// <param name="Edits">What is otherwise; inside of bodies of members.</param>
public sealed record Mutant(string Name, string Operator, string Summary, ImmutableArray<SourceEdit> Edits);
