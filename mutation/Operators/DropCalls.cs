using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Vcmm.Spec;

namespace Mutation.Operators;

/// <summary>Leaves a call out: its value, where it has one, is that of success.</summary>
/// <param name="which">Which calls, and in which method.</param>
internal sealed class DropCalls(string name, string changes, string standsFor, Func<IMethodSymbol, IMethodSymbol?, bool> which, params System.Collections.Immutable.ImmutableArray<Invariant> breaks)
    : MutationOperator(name, changes, standsFor, breaks)
{
    /// <inheritdoc/>
    private protected override IEnumerable<Replacement> In(SyntaxNode member, SemanticModel model)
    {
        var inside = model.GetDeclaredSymbol(member) as IMethodSymbol;
        foreach (InvocationExpressionSyntax call in member.DescendantNodes().OfType<InvocationExpressionSyntax>())
        {
            if (MethodOf(call, model) is not { } method || !which(method, inside)) continue;
            // What it would have given out has no value without it.
            if (call.ArgumentList.Arguments.Any(static argument => argument.RefKindKeyword.IsKind(SyntaxKind.OutKeyword))) continue;
            switch (call.Parent)
            {
                case ExpressionStatementSyntax statement:
                    yield return new(statement.Span, ";");
                    break;
                case ArrowExpressionClauseSyntax when method.ReturnsVoid:
                    yield return new(call.Span, "_ = 0");
                    break;
                default:
                    if (!method.ReturnsVoid) yield return new(call.Span, Success(method.ReturnType, model, call.SpanStart));
                    break;
            }
        }
    }

    private static string Success(ITypeSymbol type, SemanticModel model, int at) =>
        type.SpecialType == SpecialType.System_Boolean ? "true" : $"default({type.ToMinimalDisplayString(model, at)})!";
}
