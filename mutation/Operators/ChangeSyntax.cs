using System.Collections.Immutable;
using Microsoft.CodeAnalysis;
using Vcmm.Spec;

namespace Mutation.Operators;

/// <summary>Changes nodes of one kind.</summary>
/// <typeparam name="TNode">The kind.</typeparam>
/// <param name="others">What stands there instead of a node, if anything.</param>
internal sealed class ChangeSyntax<TNode>(
    string name, string changes, string standsFor, Func<TNode, SemanticModel, IEnumerable<Replacement>> others, params ImmutableArray<Invariant> breaks)
    : MutationOperator(name, changes, standsFor, breaks)
    where TNode : SyntaxNode
{
    /// <inheritdoc/>
    private protected override IEnumerable<Replacement> In(SyntaxNode member, SemanticModel model) =>
        member.DescendantNodes().OfType<TNode>().SelectMany(node => others(node, model));
}
