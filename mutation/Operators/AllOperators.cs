using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Microsoft.CodeAnalysis.Text;
using Vcmm.Spec;
using static Mutation.Operators.CallSets;

namespace Mutation.Operators;

/// <summary>The mistakes of the trade.</summary>
public static class AllOperators
{
    /// <summary>What mutants call; compiled with the library.</summary>
    public const string Helpers =
        """
        namespace Vcmm
        {
            internal static class Mutations
            {
                private const ulong Page = 4096;

                public static Platform.IovaRange Shorter(Platform.IovaRange range) =>
                    range.Last.Value - range.First.Value < Page ? range : new(range.First, new(range.Last.Value - Page));

                public static Platform.IovaRange Later(Platform.IovaRange range) =>
                    range.Last.Value - range.First.Value < Page ? range : new(new(range.First.Value + Page), range.Last);

                public static DomainId Other(DomainId domain) => new(domain.Value ^ 1);

                public static Platform.Pasid Other(Platform.Pasid pasid) => new(pasid.Value ^ 1);

                public static Platform.Pasid? Other(Platform.Pasid? pasid) => pasid is { } there ? Other(there) : null;
            }
        }
        """;

    /// <summary>All of them.</summary>
    public static IReadOnlyList<MutationOperator> All { get; } =
    [
        new DropCalls(
            "drop-invalidation", "an invalidation is left out", "a path that forgets the flush: Xen XSA-275, XSA-442",
            static (method, _) => Invalidates(method), Invariant.NoStaleAccess, Invariant.FrameSafety, Invariant.TablesAreTruth),
        new DropCalls(
            "drop-sync", "nobody waits until the hardware is done", "an invalidation that timed out taken for complete: Xen XSA-373",
            static (method, _) => Waits(method), Invariant.NoStaleAccess, Invariant.FrameSafety, Invariant.Progress),
        new SwapStatements(
            "swap-clear-invalidate", "the invalidation comes before the entries are cleared", "the table written after its flush: the hardware fetches the old entry again",
            Clears, Invalidates, Invariant.NoStaleAccess, Invariant.FrameSafety),
        new SwapStatements(
            "swap-sync-free", "memory is given away before the hardware is done", "page-table pages freed before the flush: Linux VT-d, 2014",
            static method => Waits(method) || Invalidates(method), Frees, Invariant.FrameSafety, Invariant.NoStaleAccess),
        new ChangeArguments(
            "shrink-range", "a range loses its last page", "a mask or a length that is one page short",
            static (method, parameter) => TakesAway(method) && IsRange(parameter), static text => [($"global::Vcmm.Mutations.Shorter({text})", "")],
            Invariant.NoStaleAccess, Invariant.FrameSafety, Invariant.TablesAreTruth),
        new ChangeArguments(
            "shift-range", "a range loses its first page", "an address aligned up instead of down",
            static (method, parameter) => TakesAway(method) && IsRange(parameter), static text => [($"global::Vcmm.Mutations.Later({text})", "")],
            Invariant.NoStaleAccess, Invariant.FrameSafety, Invariant.TablesAreTruth),
        new ChangeArguments(
            "wrong-id", "a domain id or a PASID is another's", "an id taken from the wrong structure, or of the wrong width",
            static (_, parameter) => parameter.Type.ToDisplayString() is "Vcmm.DomainId" or "Platform.Pasid" or "Platform.Pasid?", static text => [($"global::Vcmm.Mutations.Other({text})", "")],
            Invariant.NoStaleAccess, Invariant.Isolation),
        new ChangeArguments(
            "leaf-hint", "the hint that only leaves changed is forced on, or off", "intermediate entries kept where a table goes: gem5 e06d4f2658b2",
            static (_, parameter) => parameter.Name.Equals("leavesOnly", StringComparison.OrdinalIgnoreCase), static text => [("true", "on"), ("false", "off")],
            Invariant.FrameSafety, Invariant.NoStaleAccess, Invariant.Frugal),
        new ChangeArguments(
            "level-off-by-one", "a level of the table, and so the size of a page, is one off", "a leaf size chosen from the wrong level",
            static (_, parameter) => parameter.Name.Equals("level", StringComparison.OrdinalIgnoreCase) && parameter.Type.SpecialType == SpecialType.System_Int32,
            static text => [($"({text}) + 1", "up"), ($"({text}) - 1", "down")], Invariant.TablesAreTruth, Invariant.NoStaleAccess),
        new DropCalls(
            "drop-clean", "memory is not written back for walkers that do not snoop", "table changes left in the CPU's cache: Xen XSA-321",
            static (method, _) => Cleans(method), Invariant.TablesAreTruth, Invariant.NoStaleAccess),
        new ChangeSyntax<LockStatementSyntax>(
            "drop-lock", "a lock is not taken", "state that two threads change at once",
            static (node, _) => [new(node.Span, node.Statement is BlockSyntax ? node.Statement.ToString() : $"{{ {node.Statement} }}")], Invariant.Linearizable, Invariant.Conservation, Invariant.Progress),
        new ChangeSyntax<LockStatementSyntax>(
            "split-lock", "a lock is let go and taken again half-way", "checked under a lock and acted upon under another: Xen XSA-285",
            static (node, _) => Halves(node), Invariant.Linearizable, Invariant.Conservation),
        new ChangeSyntax<InvocationExpressionSyntax>(
            "store-for-exchange", "a compare-exchange is a load and a store", "two threads that install the same table",
            Stores, Invariant.SharedTable, Invariant.Conservation, Invariant.Linearizable),
        new DropCalls(
            "drop-fence", "a fence is left out", "a doorbell that the hardware sees before the descriptor",
            static (method, _) => method.Name is "Fence" or "MemoryBarrier", Invariant.Progress, Invariant.TablesAreTruth, Invariant.NoStaleAccess),
        new ChangeSyntax<InvocationExpressionSyntax>(
            "weaken-barrier", "a volatile access is a plain one, a barrier is none", "a pointer published before what it points to", Plain, Invariant.Linearizable),
        new ChangeSyntax<BinaryExpressionSyntax>(
            "end-off-by-one", "a comparison with the end of a range takes it in, or leaves it out", "inclusive and exclusive limits mixed: Linux 757c370f036e",
            Ends, Invariant.NoOverlap, Invariant.Conservation, Invariant.TablesAreTruth),
        new DropCalls(
            "forget-rollback", "what was done is not undone when a later part fails", "backing that stops half-way and leaves the first half: the first VCMM, 2010",
            static (method, _) => Undoes(method), Invariant.Conservation),
        new DropCalls(
            "forget-free", "memory, a range or an id is not given back", "bits that stay set for ever: Linux c89ce82c2d94",
            static (method, _) => Frees(method), Invariant.Conservation),
        new ChangeSyntax<ForEachStatementSyntax>(
            "skip-first", "of several associations, tables or ranges the first is passed over", "a loop that leaves one device out", Skips,
            Invariant.NoStaleAccess, Invariant.SharedTable, Invariant.Conservation),
        new DropCalls(
            "reuse-id", "an id is reused without what its release must do first", "a domain id reused while another CPU still cleans up under it: Xen XSA-399",
            static (method, inside) => inside?.Name is "ReleaseDomain" or "TryCreateDomain" or "Forget" or "Untag" && method.ReturnsVoid && method.Name is not "Push", Invariant.Isolation, Invariant.NoStaleAccess),
        new DropCalls(
            "drop-fault-record", "what is to be told of a fault is not", "a blocked write that nobody hears of: QEMU 7.2",
            static (method, _) => method.ContainingType?.Name is "FaultRecords" or "PageRequestQueue" && method.ReturnsVoid, Invariant.FaultExact, Invariant.Progress),
    ];

    private static bool IsRange(IParameterSymbol parameter) => parameter.Type.ToDisplayString() == "Platform.IovaRange";

    /// <summary>The first half ends where the middle statement begins.</summary>
    private static IEnumerable<Replacement> Halves(LockStatementSyntax node)
    {
        if (node.Statement is not BlockSyntax { Statements.Count: > 1 } block) yield break;
        for (int i = 1; i < block.Statements.Count; i++)
        {
            yield return new(TextSpan.FromBounds(block.Statements[i - 1].Span.End, block.Statements[i - 1].Span.End), $" }} lock ({node.Expression}) {{ ", $"{i}");
        }
    }

    private static IEnumerable<Replacement> Stores(InvocationExpressionSyntax node, SemanticModel model)
    {
        if (model.GetSymbolInfo(node).Symbol is not IMethodSymbol method) yield break;
        SeparatedSyntaxList<ArgumentSyntax> given = node.ArgumentList.Arguments;
        if (method.Name is "CompareExchange64" or "CompareExchange32" && given.Count == 3 && node.Expression is MemberAccessExpressionSyntax { Expression: var memory })
        {
            string width = method.Name[^2..];
            string type = width == "64" ? "ulong" : "uint";
            // As the exchange would: what was there, and a store if it is what is expected.
            yield return new(node.Span, $"((System.Func<{type}>)(() => {{ {type} there = {memory}.Read{width}({given[0]}); if (there == ({given[2]})) {memory}.Write{width}({given[0]}, {given[1]}); return there; }}))()");
        }
        else if (method.Name == "CompareExchange" && method.ContainingType.Name == "Interlocked" && given.Count == 3)
        {
            string place = given[0].Expression.ToString();
            yield return new(node.Span, $"({place} == ({given[2]}) ? (({place} = {given[1]}) is var _ ? ({given[2]}) : default) : {place})");
        }
    }

    private static IEnumerable<Replacement> Plain(InvocationExpressionSyntax node, SemanticModel model)
    {
        if (model.GetSymbolInfo(node).Symbol is not IMethodSymbol { ContainingType.Name: "Volatile" } method) yield break;
        SeparatedSyntaxList<ArgumentSyntax> given = node.ArgumentList.Arguments;
        if (method.Name == "Read") yield return new(node.Span, $"({given[0].Expression})");
        // ReadBarrier and WriteBarrier: a call that does nothing stands there.
        else if (given.Count == 0) yield return new(node.Span, "System.GC.KeepAlive(null)");
        else if (node.Parent is ExpressionStatementSyntax) yield return new(node.Span, $"{given[0].Expression} = {given[1]}");
    }

    private static IEnumerable<Replacement> Ends(BinaryExpressionSyntax node, SemanticModel model)
    {
        string? other = node.Kind() switch
        {
            SyntaxKind.LessThanExpression => "<=",
            SyntaxKind.LessThanOrEqualExpression => "<",
            SyntaxKind.GreaterThanExpression => ">=",
            SyntaxKind.GreaterThanOrEqualExpression => ">",
            _ => null,
        };
        if (other is null || !(Names(node.Left) || Names(node.Right))) yield break;
        yield return new(node.OperatorToken.Span, other);

        static bool Names(ExpressionSyntax side) => side.DescendantNodesAndSelf().OfType<IdentifierNameSyntax>()
            .Any(static name => name.Identifier.ValueText is "Last" or "last" or "_last" or "end" or "End" or "limit");
    }

    private static IEnumerable<Replacement> Skips(ForEachStatementSyntax node, SemanticModel model)
    {
        ITypeSymbol type = model.GetForEachStatementInfo(node).ElementType!;
        if (type.SpecialType != SpecialType.None) yield break;
        string body = node.Statement.ToString();
        int at = node.SpanStart;
        string head = node.SyntaxTree.GetText().ToString(TextSpan.FromBounds(at, node.Statement.SpanStart));
        yield return new(node.Span, $"{{ bool passed = false; {head} {{ if (!passed) {{ passed = true; continue; }} {body} }} }}");
    }
}
