using System.Text.RegularExpressions;
using Mutation.Operators;
using Mutation.Schema;

namespace Properties.Mutating;

/// <summary>What each operator makes of a line of code, and what it leaves alone.</summary>
public sealed partial class OperatorLaws
{
    private const string StandIns =
        """
        namespace Platform { public readonly record struct Iova(ulong Value); public readonly record struct Pasid(uint Value); public readonly record struct IovaRange(Iova First, Iova Last); }
        namespace Vcmm
        {
            using Platform;
            public enum VcmmError { None }
            public readonly record struct DomainId(uint Value);
            public readonly record struct Invalidation(DomainId Domain, IovaRange Range, bool LeavesOnly);
            public sealed class InvalidationGather { public void Add(IovaRange range) { } }
            public sealed class FaultRecords { public void Note(int fault) { } }
            public sealed class Memory
            {
                public ulong Read64(ulong address) => 0;
                public void Write64(ulong address, ulong value) { }
                public ulong CompareExchange64(ulong address, ulong value, ulong comparand) => 0;
                public void Clean(ulong address) { }
                public void Fence() { }
            }
            public sealed class Association { }
        }
        """;

    private const string Around =
        """
        using System.Collections.Generic;
        using System.Threading;
        using Platform;
        using Vcmm;
        public class Subject
        {
            private readonly Memory _memory = new();
            private readonly InvalidationGather _gather = new();
            private readonly FaultRecords _faults = new();
            private readonly object _gate = new();
            private object? _shared;
            private VcmmError Invalidate(IovaRange range, bool leavesOnly) => VcmmError.None;
            private void Wait() { }
            private bool TryFree(ulong frame) => true;
            private bool TrySync(out int left) { left = 0; return true; }
            private void Undo() { }
            private void Attach(DomainId domain, Pasid? pasid) { }
            private ulong Size(int level) => 0;
            private void ReleaseDomain(DomainId domain) { Tell(); }
            private void Tell() { }
            public void Body(IovaRange range, DomainId domain, Pasid? pasid, ulong last, int level, Association[] associations, List<int> numbers)
            {
                HERE
            }
        }
        """;

    /// <summary>The operator, the statements of a body, and all that becomes of them.</summary>
    public static TheoryData<string, string, string[]> Rows => new()
    {
        { "drop-invalidation", "Invalidate(range, true); Wait();", ["; Wait();"] },
        { "drop-invalidation", "VcmmError error = Invalidate(range, true);", ["VcmmError error = default(VcmmError)!;"] },
        { "drop-invalidation", "_gather.Add(range); numbers.Add(1);", ["; numbers.Add(1);"] },
        { "drop-sync", "Wait(); TrySync(out int left);", ["; TrySync(out int left);"] },
        { "swap-clear-invalidate", "_memory.Write64(1, 0); Tell(); Invalidate(range, true);", ["Invalidate(range, true); Tell(); _memory.Write64(1, 0);"] },
        { "swap-clear-invalidate", "Invalidate(range, true); _memory.Write64(1, 0);", [] },
        { "swap-sync-free", "Wait(); TryFree(1);", ["TryFree(1); Wait();"] },
        { "shrink-range", "Invalidate(range, true);", ["Invalidate(global::Vcmm.Mutations.Shorter(range), true);"] },
        { "shift-range", "_ = new Invalidation(domain, range, true);", ["_ = new Invalidation(domain, global::Vcmm.Mutations.Later(range), true);"] },
        { "wrong-id", "Attach(domain, pasid);", ["Attach(global::Vcmm.Mutations.Other(domain), pasid);", "Attach(domain, global::Vcmm.Mutations.Other(pasid));"] },
        { "leaf-hint", "Invalidate(range, true);", ["Invalidate(range, false);"] },
        { "leaf-hint", "Invalidate(range, leavesOnly: level == 1);", ["Invalidate(range, leavesOnly: true);", "Invalidate(range, leavesOnly: false);"] },
        { "level-off-by-one", "Size(level);", ["Size((level) + 1);", "Size((level) - 1);"] },
        { "drop-clean", "_memory.Clean(1); _memory.Fence();", ["; _memory.Fence();"] },
        { "drop-lock", "lock (_gate) { Tell(); }", ["{ Tell(); }"] },
        { "drop-lock", "lock (_gate) Tell();", ["{ Tell(); }"] },
        { "split-lock", "lock (_gate) { Tell(); Wait(); Undo(); }", ["lock (_gate) { Tell(); } lock (_gate) { Wait(); Undo(); }", "lock (_gate) { Tell(); Wait(); } lock (_gate) { Undo(); }"] },
        { "split-lock", "lock (_gate) { Tell(); }", [] },
        { "drop-fence", "_memory.Clean(1); _memory.Fence();", ["_memory.Clean(1); ;"] },
        { "weaken-barrier", "_shared = Volatile.Read(ref _shared);", ["_shared = (_shared);"] },
        { "weaken-barrier", "Volatile.Write(ref _shared, this);", ["_shared = this;"] },
        { "weaken-barrier", "Volatile.WriteBarrier();", ["System.GC.KeepAlive(null);"] },
        { "end-off-by-one", "if (last < range.Last.Value) Tell();", ["if (last <= range.Last.Value) Tell();"] },
        { "end-off-by-one", "if (level < 3 || level >= numbers.Count) Tell();", [] },
        { "forget-rollback", "Undo(); Tell();", ["; Tell();"] },
        { "forget-free", "if (TryFree(1)) Tell();", ["if (true) Tell();"] },
        { "skip-first", "foreach (Association one in associations) Tell();", ["{ bool passed = false; foreach (Association one in associations) { if (!passed) { passed = true; continue; } Tell(); } }"] },
        { "skip-first", "foreach (int one in numbers) Tell();", [] },
        { "drop-fault-record", "_faults.Note(1); Tell();", ["; Tell();"] },
    };

    [Theory]
    [MemberData(nameof(Rows))]
    public void An_operator_changes_what_it_is_for(string name, string body, string[] changed)
    {
        string text = Around.Replace("HERE", body, StringComparison.Ordinal);
        var sources = new LibrarySources(("stand-ins.cs", StandIns), ("a.cs", text));
        int from = text.IndexOf(body, StringComparison.Ordinal);
        Mutant[] mutants = [.. AllOperators.All.Single(made => made.Name == name).MutantsOf(sources).Where(mutant => mutant.Edits[0].File == "a.cs" && mutant.Edits[0].Span.Start >= from)];
        Assert.Equal(changed, mutants.Select(mutant => Blanks().Replace(Changed(text, mutant.Edits[0])[from..^(text.Length - from - body.Length)], " ")));
        Assert.Equal(mutants.Length, mutants.Select(static mutant => mutant.Name).Distinct().Count());
        Assert.Empty(MutantSchema.Compile(sources, mutants, AllOperators.Helpers).Broken);
    }

    /// <summary>A compare-exchange becomes what does the same where nobody comes between.</summary>
    [Fact]
    public void An_exchange_becomes_a_load_and_a_store()
    {
        const string Body = "_memory.CompareExchange64(1, 2, 3); Interlocked.CompareExchange(ref _shared, this, null);";
        var sources = new LibrarySources(("stand-ins.cs", StandIns), ("a.cs", Around.Replace("HERE", Body, StringComparison.Ordinal)));
        Mutant[] mutants = [.. AllOperators.All.Single(static made => made.Name == "store-for-exchange").MutantsOf(sources)];
        Assert.Equal([true, false], mutants.Select(static mutant => mutant.Edits[0].NewText.Contains("_memory.Write64(1, 2)", StringComparison.Ordinal)));
        Assert.Contains("_shared = this", mutants[1].Edits[0].NewText, StringComparison.Ordinal);
    }

    [Fact]
    public void Within_a_release_of_an_id_what_it_must_do_first_is_left_out()
    {
        var sources = new LibrarySources(("stand-ins.cs", StandIns), ("a.cs", Around.Replace("HERE", "Tell();", StringComparison.Ordinal)));
        Mutant only = Assert.Single(AllOperators.All.Single(static made => made.Name == "reuse-id").MutantsOf(sources));
        Assert.Equal("Tell();", sources.TextOf("a.cs").Substring(only.Edits[0].Span.Start, only.Edits[0].Span.Length));
    }

    /// <summary>In the library each operator finds something to do, and nearly all that it makes can be compiled.</summary>
    [Fact]
    [Trait("Category", "Slow")]
    public void Each_operator_has_mutants_in_the_library()
    {
        LibrarySources sources = LibrarySources.Read(Checkout.Root, "src/Vcmm/Vcmm.csproj", Checkout.Configuration);
        Mutant[] mutants = [.. AllOperators.All.SelectMany(made => made.MutantsOf(sources))];
        Assert.Empty(AllOperators.All.Select(static made => made.Name).Except(mutants.Select(static mutant => mutant.Operator)));
        MutatedLibrary library = MutantSchema.Compile(sources, mutants, AllOperators.Helpers);
        Assert.InRange(library.Broken.Count, 0, mutants.Length / 5);
    }

    private static string Changed(string text, SourceEdit edit) => text[..edit.Span.Start] + edit.NewText + text[edit.Span.End..];

    [GeneratedRegex(@"\s+")]
    private static partial Regex Blanks();
}
