using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Microsoft.CodeAnalysis.Text;
using Mutation.Schema;

namespace Mutation.Excuses;

/// <summary>
/// Mutants in which <c>&gt;&gt;&gt;</c> stands for <c>&gt;&gt;</c> and the operand has no sign: either shifts in zeros (C# language specification, "Shift operators"), so
/// that the mutant is the program itself and no test can tell them apart.
/// </summary>
/// <param name="sources">What was mutated.</param>
public sealed class UnsignedShifts(LibrarySources sources)
{
    /// <summary>Why no test can see such a mutant.</summary>
    public const string Reason = "equivalent: >> of an operand without a sign shifts in zeros, as >>> does";

    /// <summary>Whether a mutant is one. Anything else is not, also what is no source of this project any more.</summary>
    /// <param name="file">The path of its file, from the root of the repository.</param>
    /// <param name="place">What is replaced.</param>
    /// <param name="replacement">By what.</param>
    public bool Has(string file, LinePositionSpan place, string replacement)
    {
        if (sources.Find(file) is not { } tree) return false;
        SourceText text = tree.GetText();
        if (place.End.Line >= text.Lines.Count) return false;
        TextSpan span = text.Lines.GetTextSpan(place);
        SyntaxNode root = tree.GetRoot();
        if (!root.FullSpan.Contains(span)) return false;
        SyntaxNode node = root.FindNode(span, getInnermostNodeForTie: true);
        return node.Span == span && ShiftOf(node) is { } shift && SyntaxFactory.AreEquivalent(SyntaxFactory.ParseExpression(replacement), shift.Mutant, topLevel: false)
            && IsWithoutSign(sources.Compilation.GetSemanticModel(tree).GetTypeInfo(shift.Operand).Type);
    }

    private static (ExpressionSyntax Operand, ExpressionSyntax Mutant)? ShiftOf(SyntaxNode node) => node switch
    {
        BinaryExpressionSyntax { RawKind: (int)SyntaxKind.RightShiftExpression } shift =>
            (shift.Left, SyntaxFactory.BinaryExpression(SyntaxKind.UnsignedRightShiftExpression, shift.Left, shift.Right)),
        AssignmentExpressionSyntax { RawKind: (int)SyntaxKind.RightShiftAssignmentExpression } shift =>
            (shift.Left, SyntaxFactory.AssignmentExpression(SyntaxKind.UnsignedRightShiftAssignmentExpression, shift.Left, shift.Right)),
        _ => null,
    };

    // A narrow one becomes an int that is not negative.
    private static bool IsWithoutSign(ITypeSymbol? type) => type?.SpecialType is
        SpecialType.System_Byte or SpecialType.System_UInt16 or SpecialType.System_Char or SpecialType.System_UInt32 or SpecialType.System_UInt64 or SpecialType.System_UIntPtr;
}
