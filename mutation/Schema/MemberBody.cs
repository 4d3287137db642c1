using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Microsoft.CodeAnalysis.Text;

namespace Mutation.Schema;

/// <summary>What a member does, as text that can be there several times.</summary>
/// <param name="Member">The member: a method, a constructor, an operator, an accessor, or a property that is an expression.</param>
/// <param name="Span">All that goes when the member gets several bodies.</param>
/// <param name="Code">The block with its braces, or the expression.</param>
/// <param name="Kind">What is put around it.</param>
internal sealed record MemberBody(SyntaxNode Member, TextSpan Span, TextSpan Code, BodyKind Kind)
{
    /// <summary>Where an edit must be.</summary>
    public bool Contains(TextSpan edit) => Kind == BodyKind.Block ? edit.Start > Code.Start && edit.End < Code.End : Code.Contains(edit);

    /// <summary>All of a file, in order. None is inside of another.</summary>
    public static IEnumerable<MemberBody> AllOf(SyntaxNode root) => root
        .DescendantNodes(static node => node is not (BlockSyntax or ArrowExpressionClauseSyntax))
        .Select(Of)
        .OfType<MemberBody>();

    /// <summary>The body as a block of its own.</summary>
    /// <param name="code">The text of the code, changed or not.</param>
    public string ToBlock(string code) => Kind switch
    {
        BodyKind.Block => code,
        BodyKind.Statement => $"{{ {code}; }}",
        _ => code.StartsWith("throw ", StringComparison.Ordinal) ? $"{{ {code}; }}" : $"{{ return {code}; }}",
    };

    private static MemberBody? Of(SyntaxNode node) => node switch
    {
        BaseMethodDeclarationSyntax { Body: { } block } => OfBlock(node, block),
        AccessorDeclarationSyntax { Body: { } block } => OfBlock(node, block),
        BaseMethodDeclarationSyntax { ExpressionBody: { } arrow } method => OfArrow(node, arrow, method.SemicolonToken, GivesNothing(method) ? BodyKind.Statement : BodyKind.Value),
        AccessorDeclarationSyntax { ExpressionBody: { } arrow } accessor =>
            OfArrow(node, arrow, accessor.SemicolonToken, accessor.IsKind(SyntaxKind.GetAccessorDeclaration) ? BodyKind.Value : BodyKind.Statement),
        PropertyDeclarationSyntax { ExpressionBody: { } arrow } property => OfArrow(node, arrow, property.SemicolonToken, BodyKind.Getter),
        IndexerDeclarationSyntax { ExpressionBody: { } arrow } indexer => OfArrow(node, arrow, indexer.SemicolonToken, BodyKind.Getter),
        _ => null,
    };

    private static MemberBody OfBlock(SyntaxNode member, BlockSyntax block) => new(member, block.Span, block.Span, BodyKind.Block);

    private static MemberBody OfArrow(SyntaxNode member, ArrowExpressionClauseSyntax arrow, SyntaxToken semicolon, BodyKind kind) =>
        new(member, TextSpan.FromBounds(arrow.SpanStart, semicolon.Span.End), arrow.Expression.Span, kind);

    private static bool GivesNothing(BaseMethodDeclarationSyntax method) =>
        method is ConstructorDeclarationSyntax or DestructorDeclarationSyntax
        || method is MethodDeclarationSyntax { ReturnType: PredefinedTypeSyntax { Keyword.RawKind: (int)SyntaxKind.VoidKeyword } };
}

/// <summary>What a body is in the source.</summary>
internal enum BodyKind
{
    /// <summary>A block.</summary>
    Block,

    /// <summary>An expression whose value is what the member gives.</summary>
    Value,

    /// <summary>An expression for what it does.</summary>
    Statement,

    /// <summary>An expression in the place of a property's accessors.</summary>
    Getter,
}
