using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Microsoft.CodeAnalysis.Text;

namespace Verify.Running;

/// <summary>
/// The members that changed lines are in. A mutant may be larger than the lines that changed, a whole body that is removed for one; but none is larger than a member.
/// </summary>
internal static class ChangedMembers
{
    /// <summary>Where they are in the text, in order; none if only what lies between members changed. Of a change to the head of a type the whole type.</summary>
    public static IReadOnlyList<TextSpan> Of(string text, IReadOnlyList<LineSpan> changed)
    {
        SourceText source = SourceText.From(text);
        SyntaxNode root = CSharpSyntaxTree.ParseText(source, CSharpParseOptions.Default.WithLanguageVersion(LanguageVersion.Preview)).GetRoot();
        return [.. root.DescendantNodes().OfType<MemberDeclarationSyntax>()
            .Where(static member => member is not BaseNamespaceDeclarationSyntax)
            .Where(member => changed.Any(lines => IsIn(lines, source, OwnSpan(member))))
            .Select(static member => member.Span)
            .OrderBy(static span => span.Start).ThenByDescending(static span => span.Length)
            .Aggregate(new List<TextSpan>(), static (outer, span) =>
            {
                if (outer.Count == 0 || !outer[^1].Contains(span)) outer.Add(span);
                return outer;
            })];
    }

    /// <summary>Of a type what is before its members; of any other member all of it. The comment above is not a part of it.</summary>
    private static TextSpan OwnSpan(MemberDeclarationSyntax member) =>
        member is BaseTypeDeclarationSyntax { OpenBraceToken: { IsMissing: false, Span.Length: > 0 } brace } ? TextSpan.FromBounds(member.SpanStart, brace.Span.End) : member.Span;

    private static bool IsIn(LineSpan lines, SourceText source, TextSpan span)
    {
        int first = source.Lines.GetLineFromPosition(span.Start).LineNumber + 1;
        int last = source.Lines.GetLineFromPosition(span.End).LineNumber + 1;
        // Lines that only went are a gap: it is in the member if the lines on both sides are.
        return lines.First <= lines.Last ? lines.First <= last && lines.Last >= first : lines.Last >= first && lines.First <= last;
    }
}
