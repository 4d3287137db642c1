using System.Collections.Immutable;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Vcmm.Spec;

namespace Mutation.Operators;

/// <summary>Gives a call another argument.</summary>
/// <param name="which">Which parameters of which methods.</param>
/// <param name="others">What they are given instead of an expression, with a name for each where there are several.</param>
internal sealed class ChangeArguments(
    string name, string changes, string standsFor, Func<IMethodSymbol, IParameterSymbol, bool> which, Func<string, IEnumerable<(string Text, string Variant)>> others,
    params ImmutableArray<Invariant> breaks)
    : MutationOperator(name, changes, standsFor, breaks)
{
    /// <inheritdoc/>
    private protected override IEnumerable<Replacement> In(SyntaxNode member, SemanticModel model)
    {
        foreach ((IMethodSymbol method, ArgumentSyntax argument, IParameterSymbol parameter) in ArgumentsIn(member, model))
        {
            if (!which(method, parameter)) continue;
            string text = argument.Expression.ToString();
            foreach ((string other, string variant) in others(text))
            {
                if (other != text) yield return new(argument.Expression.Span, other, variant);
            }
        }
    }
}
