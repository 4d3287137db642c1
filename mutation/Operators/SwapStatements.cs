using System.Collections.Immutable;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Microsoft.CodeAnalysis.Text;
using Vcmm.Spec;

namespace Mutation.Operators;

/// <summary>Of two statements that follow each other, perhaps with others between them, the second comes first.</summary>
/// <param name="first">What the first one calls.</param>
/// <param name="second">What the second one calls.</param>
internal sealed class SwapStatements(string name, string changes, string standsFor, Func<IMethodSymbol, bool> first, Func<IMethodSymbol, bool> second, params ImmutableArray<Invariant> breaks)
    : MutationOperator(name, changes, standsFor, breaks)
{
    /// <inheritdoc/>
    private protected override IEnumerable<Replacement> In(SyntaxNode member, SemanticModel model)
    {
        foreach (BlockSyntax block in member.DescendantNodes().OfType<BlockSyntax>())
        {
            SyntaxList<StatementSyntax> statements = block.Statements;
            for (int i = 0; i < statements.Count; i++)
            {
                if (!Calls(statements[i], first, model)) continue;
                for (int j = i + 1; j < statements.Count; j++)
                {
                    if (!Calls(statements[j], second, model)) continue;
                    string between = block.SyntaxTree.GetText().ToString(TextSpan.FromBounds(statements[i].Span.End, statements[j].SpanStart));
                    yield return new(TextSpan.FromBounds(statements[i].SpanStart, statements[j].Span.End), $"{statements[j]}{between}{statements[i]}");
                    break;
                }
            }
        }
    }

    private static bool Calls(StatementSyntax statement, Func<IMethodSymbol, bool> which, SemanticModel model) =>
        statement.DescendantNodes().OfType<InvocationExpressionSyntax>().Any(call => MethodOf(call, model) is { } method && which(method));
}
