using System.Collections.Immutable;
using CsCheck;
using Harness.Generating;
using Harness.Operations;
using Harness.Running;
using Harness.Scenarios;
using Vcmm.Spec;
using Xunit.Abstractions;

namespace Properties.Sequences;

/// <summary>Threads that run at once: what they saw has an order that the model accepts (I10).</summary>
[Trait("Category", "Slow")]
public sealed class ParallelHistories(ITestOutputHelper output)
{
    private static readonly HistoryGen Histories = new();

    [Fact]
    public void What_threads_see_has_a_lawful_order()
    {
        using var bench = new SimulatorBench();
        var runner = new ParallelRunner(bench, SubjectParts.Own);
        Histories.ForAll(
            1_200,
            scenario =>
            {
                Violation? violation = runner.Run(scenario);
                Assert.True(violation is null, $"{violation}\n{scenario.ToJson()}");
            });
        foreach ((string state, long times) in runner.Counts.Sometimes) output.WriteLine($"{times,6} {state}");
        Assert.InRange(runner.Counts.Operations, 1000, long.MaxValue);
        string[] sometimes = ["operations overlapped", "Flush done", "PollFlush done", "Bind done", "Unbind done", "Associate done", "Activate done", "ChangeAssociation done", "ChangeAssociation refused: Busy", "SetAttributes refused: Invalid", "ReserveAt refused: NoSpace", "CoreAccess done", "CoreAccess refused: Fault", "GoIdle done", "PassThrough done", "PassThrough refused: Busy", "EndPassThrough done", "EndPassThrough refused: NotFound"];
        Assert.All(sometimes, state => Assert.True(runner.Counts.Sometimes.ContainsKey(state), $"\"{state}\" was never reached"));
    }

    /// <summary>The fault, where it is, what is done before, what the threads do, and what is broken.</summary>
    public static TheoryData<string, string, string[], string[][], Invariant> Faults => new()
    {
        {
            "a flush that is not done", "deferred",
            ["v0 = vcm 0x0-0xffff deferred", "a0 = associate v0 d0", "activate a0", "r0 m0 = bind v0 8K rw of 4K"],
            [["unback r0", "unreserve r0", "flush v0", "r1 = reserve-at v0 0x0 4K rw"], ["m1 = allocate 4K of 4K"]],
            Invariant.Linearizable
        },
        {
            "an associate that misses what is backed", "scalable",
            ["v0 = vcm 0x0-0xffff", "a0 = associate v0 d0", "r0 = reserve-at v0 0x0 8K rw", "m0 = allocate 8K of 4K", "back r0 m0"],
            [["unback r0 at 0 for 4K"], ["a1 = associate v0 d0 first-stage pasid 1", "activate a1"]],
            Invariant.SharedTable
        },
        {
            "one-to-one addresses that two have", "one-to-one",
            ["v0 = vcm 0x3800000-0x380ffff one-to-one", "m0 = wrap 0x3801000-0x3801fff"],
            [["r0 = map v0 m0 rw align 4K"], ["r1 = map v0 m0 rw align 4K"]],
            Invariant.Linearizable
        },
        {
            "a shootdown that is left out", "cpu",
            ["v0 = vcm 0x0-0xffff", "r0 m0 = bind v0 8K rw of 4K", "a0 = associate v0 p0", "activate a0", "read c0 p0 0x0"],
            [["unback r0", "read c0 p0 0x0"], ["read c1 p0 0x1000", "idle c1", "read c1 p0 0x0"]],
            Invariant.Linearizable
        },
    };

    /// <summary>Also where regions are of other kinds the check can fail.</summary>
    [Theory]
    [MemberData(nameof(Faults))]
    public void A_fault_is_found_where_threads_work_on_other_regions(string fault, string kind, string[] steps, string[][] threads, Invariant invariant)
    {
        Scenario scenario = new(
            new() { Mode = kind == "scalable" ? RemappingMode.Scalable : RemappingMode.Legacy, Cores = kind == "cpu" ? 2 : 0, Processes = kind == "cpu" ? 1 : 0 },
            [.. steps.Select(OperationText.Parse)])
        {
            Threads = [.. threads.Select(static thread => thread.Select(OperationText.Parse).ToImmutableArray())],
        };
        using var bench = new SimulatorBench();
        Violation? right = new ParallelRunner(bench, SubjectParts.Own).Run(scenario);
        Assert.True(right is null, right?.ToString());
        Violation? wrong = new ParallelRunner(bench, Plant(fault)).Run(scenario);
        output.WriteLine($"{wrong}");
        Assert.Equal(invariant, wrong?.Invariant);
    }

    private static SubjectParts Plant(string fault) => fault switch
    {
        "a flush that is not done" => new() { Around = static (operation, run) => operation is Flush ? new(Outcome.None) : run(operation) },
        "an associate that misses what is backed" => new() { Iommu = static iommu => new StartsEmpty(iommu) },
        "a shootdown that is left out" => NoShootdown,
        _ => new()
        {
            Around = static (operation, run) =>
            {
                Observation seen = run(operation);
                return seen.Outcome == Outcome.NoSpace && operation is Vcmm.Spec.Map ? new(Outcome.None) { Ranges = [new(0x3801000, 0x3801fff)] } : seen;
            },
        },
    };

    /// <summary>Not only where it is written down: in generated histories cores meet what was taken from them.</summary>
    [Fact]
    public void Generated_histories_with_cores_find_a_shootdown_that_is_left_out()
    {
        var histories = new HistoryGen { HasCpu = true };
        using var bench = new SimulatorBench();
        var right = new ParallelRunner(bench, SubjectParts.Own);
        var wrong = new ParallelRunner(bench, NoShootdown);
        int found = 0;
        for (uint index = 0; index < 300; index++)
        {
            Scenario scenario = histories.Generate(new PCG(index, 1), null, out _);
            Violation? violation = right.Run(scenario);
            Assert.True(violation is null, $"{violation}\n{scenario.ToJson()}");
            if (wrong.Run(scenario) is not { } stale) continue;
            if (found++ < 3) output.WriteLine($"history {index}: {stale}");
            Assert.Contains(stale.Invariant, (Invariant[])[Invariant.Linearizable, Invariant.NoStaleAccess, Invariant.FrameSafety, Invariant.Isolation]);
        }

        foreach ((string state, long times) in right.Counts.Sometimes) output.WriteLine($"{times,6} {state}");
        Assert.InRange(found, 10, 300);
    }

    [Fact]
    public void A_history_without_a_lawful_order_is_refused()
    {
        World world = Start("v0 = vcm 0x0-0xffff", "r0 = reserve-at v0 0x0 4K rw", "m0 = allocate 4K of 4K");
        var unback = new HistoryEntry(OperationText.Parse("unback r0").Operation, new(Outcome.None), 1, 4);
        var back = new HistoryEntry(OperationText.Parse("back r0 m0").Operation, new(Outcome.None), 2, 3);
        Assert.Single(Linearization.OrdersOf(world, [[unback], [back]]));
        // The unback had returned before the back was called: there was nothing to unback.
        Assert.Empty(Linearization.OrdersOf(world, [[unback with { Ended = 2 }], [back with { Begun = 3, Ended = 4 }]]));
        // Twice is once too often.
        Assert.Empty(Linearization.OrdersOf(world, [[unback], [back], [unback]]));
    }

    /// <summary>A table is written before the call is over, and an access waits for no call.</summary>
    [Fact]
    public void An_access_may_meet_what_a_call_under_way_makes_before_other_calls_see_it()
    {
        World world = World.Create(new(ulong.MaxValue, []), 1).With(new Topology { Cores = 1, Processes = 1 }.ToCpuModel());
        foreach (string line in (string[])["v0 = vcm 0x0-0xffff", "r0 = reserve-at v0 0x0 4K rw", "m0 = allocate 4K of 4K", "a0 = associate v0 p0", "activate a0", "back r0 m0"]) world = After(world, line);
        HistoryEntry unback = Entry("unback r0", new(Outcome.None), 1, 8);
        HistoryEntry blocked = Entry("read c0 p0 0x0", new(Outcome.Fault), 2, 3);
        HistoryEntry busy = Entry("free m0", new(Outcome.Busy), 4, 5);
        HistoryEntry reached = Entry("read c0 p0 0x0", new(Outcome.None) { Reached = 0x1000 }, 6, 7);
        Assert.Single(Linearization.OrdersOf(world, [[unback], [blocked, busy, reached]]));
        // A translation walks the same table.
        HistoryEntry translated = Entry("translate v0 0x0", new(Outcome.Fault), 2, 3);
        Assert.Single(Linearization.OrdersOf(world, [[unback], [translated, busy]]));
        Assert.Empty(Linearization.OrdersOf(world, [[unback with { Begun = 4 }], [translated, busy]]));
        // There is nothing under way that the access could have met: before the call, and where the call was refused.
        Assert.Empty(Linearization.OrdersOf(world, [[unback with { Begun = 4 }], [blocked, busy]]));
        Assert.Empty(Linearization.OrdersOf(world, [[Entry("release r0", new(Outcome.Busy), 1, 8)], [blocked]]));
        // Calls wait for calls.
        Assert.Empty(Linearization.OrdersOf(world, [[unback], [Entry("unback r0", new(Outcome.NotFound), 2, 3), busy]]));
        // After the call nothing is met any more: what was freed was freed after it.
        Assert.Empty(Linearization.OrdersOf(world, [[unback], [busy with { Seen = new(Outcome.None) }, reached]]));

        static HistoryEntry Entry(string line, Observation seen, int begun, int ended) => new(OperationText.Parse(line).Operation, seen, begun, ended);
    }

    [Fact]
    public void Orders_of_operations_that_overlap_are_all_tried()
    {
        World world = Start("v0 = vcm 0x0-0xffff");
        ImmutableArray<ImmutableArray<HistoryEntry>> history = [.. Enumerable.Range(0, 4).Select(thread => ImmutableArray.Create(
            new HistoryEntry(new ReserveAt(new(ObjectKind.Reservation, thread), new(ObjectKind.Vcm, 0), (ulong)thread * World.PageBytes, World.PageBytes, Permissions.Read),
                new(Outcome.None) { Ranges = [new((ulong)thread * World.PageBytes, (ulong)thread * World.PageBytes + 0xfff)] }, 0, 9)))];
        // 24 orders with one end; on the way each of the 16 sets of operations is looked at once.
        int visited = 0;
        Assert.Single(Linearization.OrdersOf(world, history, count => visited += count));
        Assert.Equal(16, visited);
    }

    /// <summary>Each thread reserves a page, backs it and unbacks it; one asks at last for the first page, while another may have it.</summary>
    [Theory]
    [InlineData("all overlap", true)]
    [InlineData("a thread unbacks what it had not backed yet", false)]
    [InlineData("two threads were given one page", false)]
    [InlineData("the last call was refused, and nothing spoke against it", false)]
    public void Histories_of_sixteen_operations_by_four_threads_are_decided(string name, bool isLawful)
    {
        World world = Start("v0 = vcm 0x0-0xffff", "m0 = allocate 4K of 4K");
        var history = new HistoryEntry[4][];
        for (int thread = 0; thread < history.Length; thread++)
        {
            ulong first = name == "two threads were given one page" && thread == 3 ? 0 : (ulong)thread * World.PageBytes;
            HistoryEntry Entry(string operation, Observation seen) => new(OperationText.Parse(operation).Operation, seen, 0, 100);
            history[thread] =
            [
                Entry($"r{thread} = reserve v0 4K rw align 4K", new(Outcome.None) { Ranges = [new(first, first + 0xfff)] }),
                Entry($"back r{thread} m0", new(Outcome.None)),
                Entry($"unback r{thread}", new(Outcome.None)),
                Entry($"unreserve r{thread}", new(name.StartsWith("the last", StringComparison.Ordinal) && thread == 3 ? Outcome.Busy : Outcome.None)),
            ];
        }

        if (name == "all overlap") history[3][3] = history[3][3] with { Operation = OperationText.Parse("r4 = reserve-at v0 0x0 4K r").Operation, Seen = new(Outcome.NoSpace) };
        if (name.StartsWith("a thread", StringComparison.Ordinal)) history[2] = [history[2][0], history[2][2], history[2][1], history[2][3]];
        if (name.StartsWith("two threads", StringComparison.Ordinal))
        {
            // Neither page was given back when both had been taken.
            history[0][3] = history[0][3] with { Begun = 200, Ended = 300 };
            history[3][3] = history[3][3] with { Begun = 200, Ended = 300 };
        }

        int visited = 0;
        bool has = Linearization.OrdersOf(world, [.. history.Select(static thread => thread.ToImmutableArray())], count => visited += count).Any();
        Assert.Equal(isLawful, has);
        // There are 63 million orders of which each thread's own is kept.
        Assert.InRange(visited, 1, 5 * 5 * 5 * 5 * 4);
    }

    /// <summary>Each thread has a region, memory and a reservation of its own, but for what the name says.</summary>
    [Theory]
    [InlineData("each has its own", true, 4 * 5)]
    [InlineData("the third backs twice", false, 4 * 5)]
    [InlineData("the second and third share memory", true, (2 * 5) + (5 * 5))]
    [InlineData("the first got a frame of the second", true, (2 * 5) + (5 * 5))]
    [InlineData("one region is deferred", true, 5 * 5 * 5 * 5)]
    public void A_history_is_searched_in_parts_that_have_nothing_to_do_with_each_other(string name, bool isLawful, int most)
    {
        World world = Start([.. Enumerable.Range(0, 4).Select(i => $"v{i} = vcm 0x0-0xffff{(i == 3 && name == "one region is deferred" ? " deferred" : "")}")]);
        var history = new HistoryEntry[4][];
        for (int thread = 0; thread < history.Length; thread++)
        {
            int memory = name == "the second and third share memory" && thread == 2 ? 1 : thread;
            ulong frame = name == "the first got a frame of the second" && thread == 1 ? 0x10_0000 : 0x10_0000 + ((ulong)thread << 13);
            HistoryEntry Entry(string operation, Observation seen) => new(OperationText.Parse(operation).Operation, seen, 0, 100);
            history[thread] =
            [
                Entry($"r{thread} = reserve v{thread} 4K rw align 4K", new(Outcome.None) { Ranges = [new(0, 0xfff)] }),
                Entry($"m{thread} = allocate 4K of 4K", new(Outcome.None) { Ranges = [new(frame, frame + 0xfff)] }),
                Entry($"back r{thread} m{memory}", new(Outcome.None)),
                Entry($"unback r{thread}", new(Outcome.None)),
            ];
            // Lawful only if the second thread is done with the frame before the first gets it, who keeps it.
            if (name == "the first got a frame of the second" && thread == 1) history[thread][3] = history[thread][3] with { Operation = OperationText.Parse($"free m{thread}").Operation };
            if (name == "the first got a frame of the second" && thread == 0) history[thread][3] = history[thread][3] with { Operation = OperationText.Parse("find v0 0x0").Operation, Seen = new(Outcome.None) { Ranges = [new(0, 0xfff)] } };
            if (name == "the first got a frame of the second" && thread < 2) history[thread][2] = history[thread][2] with { Operation = OperationText.Parse($"list v{thread}").Operation, Seen = new(Outcome.None) { Ranges = [new(0, 0xfff)] } };
            if (name == "the third backs twice" && thread == 2) history[thread][3] = history[thread][2];
        }

        ImmutableArray<ImmutableArray<HistoryEntry>> entries = [.. history.Select(static thread => thread.ToImmutableArray())];
        int visited = 0, wholly = 0;
        LawfulOrder? order = Linearization.OrdersOf(world, entries, count => visited += count).FirstOrDefault();
        bool isLawfulWholly = Linearization.OrdersOf(world, entries, count => wholly += count, isWhole: true).Any();
        output.WriteLine($"{visited} places in parts, {wholly} as a whole");
        Assert.Equal((isLawful, isLawful), (order is not null, isLawfulWholly));
        Assert.InRange(visited, 1, most);
        if (name == "one region is deferred") Assert.Equal(wholly, visited);
        // What is given out is an order: of all operations, each lawful after the one before.
        if (order is null) return;
        Assert.Equal(entries.Sum(static thread => thread.Length), order.Steps.Length);
        World at = world;
        foreach ((World before, HistoryEntry entry) in order.Steps)
        {
            Assert.Equal(at.Reservations.Count, before.Reservations.Count);
            at = at.Judge(entry.Operation, entry.Seen, new(ulong.MaxValue)).Next;
        }
    }

    /// <summary>Two threads work on one region, two on another.</summary>
    [Fact]
    public void Histories_come_to_the_same_in_parts_and_as_a_whole()
    {
        using var bench = new SimulatorBench();
        int parted = 0, histories = 0;
        var runner = new ParallelRunner(bench, SubjectParts.Own)
        {
            Recorded = (start, recorded) =>
            {
                // As if all had overlapped, so that there is something to search.
                ImmutableArray<ImmutableArray<HistoryEntry>> history = [.. recorded.Select(static thread => ImmutableArray.CreateRange(thread, static entry => entry with { Begun = 0, Ended = int.MaxValue }))];
                int places = 0, wholly = 0;
                Assert.Equal(EndsOf(start, Linearization.OrdersOf(start, history, count => wholly += count, isWhole: true)), EndsOf(start, Linearization.OrdersOf(start, history, count => places += count)));
                histories++;
                if (places < wholly) parted++;
            },
        };
        for (uint i = 0; i < 100; i++)
        {
            var pcg = new PCG(i, 1);
            Scenario scenario = new(new() { Devices = 2 }, [.. Enumerable.Range(0, 2).SelectMany(static r => new[] { $"v{r} = vcm 0x0-0xffff", $"m{r} = allocate 4K of 4K", $"r{r} = reserve-at v{r} 0x0 4K rw", $"a{r} = associate v{r} d{r}" }).Select(OperationText.Parse)])
            {
                Threads = [.. Enumerable.Range(0, 4).Select(thread => Enumerable.Range(0, 3).Select(_ => Draw(pcg, thread / 2)).ToImmutableArray())],
            };
            Violation? violation = runner.Run(scenario);
            Assert.True(violation is null, $"{violation}\n{scenario.ToJson()}");
        }

        output.WriteLine($"{parted} of {histories} histories were searched in fewer places, since they had parts");
        Assert.InRange(parted, 90, histories);

        static Step Draw(PCG pcg, int r) => OperationText.Parse(pcg.Next(7) switch
        {
            0 or 1 => $"back r{r} m{r}",
            2 or 3 => $"unback r{r}",
            4 => $"activate a{r}",
            5 => $"deactivate a{r}",
            _ => $"unreserve r{r}",
        });

        static IEnumerable<string> EndsOf(World start, IEnumerable<LawfulOrder> orders)
        {
            var names = CanonicalForm.WithNames(start.WithoutObjects());
            return orders.Select(order => Convert.ToHexString(names.Of(order.End))).Distinct().Order(StringComparer.Ordinal);
        }
    }

    /// <summary>Of orders that end otherwise than the library did, one would tell a difference that nobody made.</summary>
    [Fact]
    public void What_is_broken_is_told_of_the_order_that_the_library_took()
    {
        using var bench = new SimulatorBench();
        // Whether the clone has what is backed meanwhile is for the library to say: both are called before either runs.
        using var meeting = new Barrier(2);
        var runner = new ParallelRunner(bench, new()
        {
            Cpus = NoShootdown.Cpus,
            Around = (operation, run) =>
            {
                if (operation is CloneVcm or Back { Reservation.Number: 1 }) meeting.SignalAndWait();
                return run(operation);
            },
        });
        string[] steps =
        [
            "v0 = vcm 0x0-0xffff", "r1 = reserve-at v0 0x2000 8K r", "m1 = allocate 8K of 4K",
            "v1 = vcm 0x0-0x3fff", "r2 m2 = bind v1 8K rw of 4K", "a1 = associate v1 p0", "activate a1", "read c0 p0 0x0", "unback r2",
        ];
        Scenario scenario = new(new() { Cores = 1, Processes = 1 }, [.. steps.Select(OperationText.Parse)])
        {
            Threads = [[OperationText.Parse("back r1 m1")], [OperationText.Parse("v10 = clone v0")]],
        };
        for (int i = 0; i < 100; i++) Assert.Equal(Invariant.NoStaleAccess, runner.Run(scenario)?.Invariant);
        Assert.Equal(100, runner.Counts.Sometimes["more than one order was tried"]);
    }

    /// <summary>A reservation may end while what is cloned is given names: none of them is another's.</summary>
    [Fact]
    public void A_clone_beside_ends_of_reservations_has_a_lawful_order()
    {
        using var bench = new SimulatorBench();
        var runner = new ParallelRunner(bench, SubjectParts.Own);
        int[] numbers = [.. Enumerable.Range(1, 12)];
        Scenario scenario = new(new(), [.. new[] { "v0 = vcm 0x0-0xffff", "r0 = reserve-at v0 0x0 4K rw" }.Concat(numbers.Select(static n => $"r{n} = reserve-at v0 0x{n:x}000 4K r")).Select(OperationText.Parse)])
        {
            Threads = [[.. numbers.Reverse().Select(static n => OperationText.Parse($"unmap r{n}"))], [.. Enumerable.Range(10, 4).Select(static n => OperationText.Parse($"v{n} = clone v0"))]],
        };
        for (int i = 0; i < 300; i++)
        {
            Violation? violation = runner.Run(scenario);
            Assert.True(violation is null, $"run {i}: {violation}");
        }
    }

    [Fact]
    public void A_reserve_that_is_not_atomic_is_found()
    {
        using var bench = new SimulatorBench();
        // Two threads meet between the look and the take, every time.
        using var meeting = new Barrier(2);
        var runner = new ParallelRunner(bench, new()
        {
            Around = (operation, run) =>
            {
                if (operation is not Vcmm.Spec.Reserve reserve) return run(operation);
                ulong first = run(new ListReservations(reserve.In)).Ranges.Select(range => range.Last + 1).DefaultIfEmpty(0UL).Max();
                meeting.SignalAndWait();
                run(new ReserveAt(reserve.Reservation, reserve.In, first, reserve.ByteCount, reserve.Attributes));
                return new(Outcome.None) { Ranges = [new(first, first + reserve.ByteCount - 1)] };
            },
        });
        Scenario scenario = new(new(), [.. new[] { "v0 = vcm 0x0-0xffff" }.Select(OperationText.Parse)])
        {
            Threads = [[OperationText.Parse("r0 = reserve v0 4K rw align 4K")], [OperationText.Parse("r1 = reserve v0 4K rw align 4K")]],
        };
        Violation? violation = runner.Run(scenario);
        Assert.NotNull(violation);
        output.WriteLine(violation.ToString());
        Assert.Equal(Invariant.Linearizable, violation.Invariant);
    }

    private static SubjectParts NoShootdown { get; } = new() { Cpus = static (memory, options) => new NeverTellsCores(memory, options) };

    private sealed class NeverTellsCores(Platform.Ram memory, IommuSim.Cpu.CpuOptions options) : SimulatedCpus(memory, options)
    {
        public override Vcmm.VcmmError Shootdown(ReadOnlySpan<Vcmm.Cpu.CpuFlush> flushes) => Vcmm.VcmmError.None;
    }

    private static World Start(params string[] lines) => lines.Aggregate(World.Create(new(ulong.MaxValue, []), 1), After);

    private static World After(World world, string line)
    {
        Operation operation = OperationText.Parse(line).Operation;
        Observation seen = new(Outcome.None)
        {
            Ranges = operation is ReserveAt at ? [new(at.First, at.First + at.ByteCount - 1)] : operation is AllocateMemory ? [new(0x1000, 0x1fff)] : [],
        };
        return world.Judge(operation, seen, new(ulong.MaxValue)).Next;
    }
}
