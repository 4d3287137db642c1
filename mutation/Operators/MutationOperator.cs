using System.Collections.Immutable;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Microsoft.CodeAnalysis.Text;
using Mutation.Schema;
using Vcmm.Spec;

namespace Mutation.Operators;

/// <summary>A mistake of the trade, made wherever it can be made.</summary>
/// <param name="name">In lower case, words joined by hyphens.</param>
/// <param name="changes">What it changes.</param>
/// <param name="standsFor">The real mistake.</param>
/// <param name="breaks">The invariants that such a mistake breaks.</param>
public abstract class MutationOperator(string name, string changes, string standsFor, params ImmutableArray<Invariant> breaks)
{
    /// <summary>The name.</summary>
    public string Name => name;

    /// <summary>What it changes.</summary>
    public string Changes => changes;

    /// <summary>The real mistake.</summary>
    public string StandsFor => standsFor;

    /// <summary>The invariants that such a mistake breaks.</summary>
    public ImmutableArray<Invariant> Breaks => breaks;

    /// <summary>All mutants that it makes, in the order of the sources.</summary>
    /// <param name="sources">The library.</param>
    public IEnumerable<Mutant> MutantsOf(LibrarySources sources)
    {
        foreach (SyntaxTree tree in sources.Trees.Where(sources.IsWritten).OrderBy(sources.PathOf, StringComparer.Ordinal))
        {
            SemanticModel model = sources.Compilation.GetSemanticModel(tree);
            string file = sources.PathOf(tree);
            var seen = new HashSet<(TextSpan, string)>();
            foreach (MemberBody body in sources.BodiesOf(file))
            {
                foreach (Replacement made in In(body.Member, model).Where(made => body.Contains(made.Span) && seen.Add((made.Span, made.NewText))))
                {
                    FileLinePositionSpan at = tree.GetLineSpan(made.Span);
                    yield return new(
                        $"{name}:{Path.GetFileNameWithoutExtension(file)}:{at.StartLinePosition.Line + 1}:{at.StartLinePosition.Character + 1}{(made.Variant.Length == 0 ? "" : $":{made.Variant}")}",
                        name, $"{file}:{at.StartLinePosition.Line + 1}: {changes}", [new SourceEdit(file, made.Span, made.NewText)]);
                }
            }
        }
    }

    /// <summary>The mistakes that can be made in a member.</summary>
    private protected abstract IEnumerable<Replacement> In(SyntaxNode member, SemanticModel model);

    /// <summary>The method that is called, or the constructor.</summary>
    private protected static IMethodSymbol? MethodOf(SyntaxNode call, SemanticModel model) => model.GetSymbolInfo(call).Symbol as IMethodSymbol;

    /// <summary>Each argument of each call or construction in a member, with its parameter.</summary>
    private protected static IEnumerable<(IMethodSymbol Method, ArgumentSyntax Argument, IParameterSymbol Parameter)> ArgumentsIn(SyntaxNode member, SemanticModel model)
    {
        foreach (SyntaxNode node in member.DescendantNodes())
        {
            ArgumentListSyntax? list = node switch
            {
                InvocationExpressionSyntax call => call.ArgumentList,
                BaseObjectCreationExpressionSyntax made => made.ArgumentList,
                _ => null,
            };
            if (list is null || MethodOf(node, model) is not { } method) continue;
            for (int i = 0; i < list.Arguments.Count; i++)
            {
                ArgumentSyntax argument = list.Arguments[i];
                IParameterSymbol? parameter = argument.NameColon is { } named
                    ? method.Parameters.FirstOrDefault(parameter => parameter.Name == named.Name.Identifier.ValueText)
                    : i < method.Parameters.Length ? method.Parameters[i] : null;
                if (parameter is not null && argument.RefKindKeyword.RawKind == 0) yield return (method, argument, parameter);
            }
        }
    }
}

/// <summary>A stretch of the source and what stands there instead.</summary>
/// <param name="Span">The stretch.</param>
/// <param name="NewText">The new text.</param>
/// <param name="Variant">Which of several at the same place; nothing if there is one.</param>
internal readonly record struct Replacement(TextSpan Span, string NewText, string Variant = "");
