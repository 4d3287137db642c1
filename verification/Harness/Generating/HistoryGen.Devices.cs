using System.Collections.Immutable;
using CsCheck;
using Harness.Operations;
using Harness.Scenarios;
using Vcmm.Spec;

namespace Harness.Generating;

// Scenarios for controlled schedules: more or fewer threads, and devices that are at work beside them.
public sealed partial class HistoryGen
{
    private const ulong QueueStream = 0x90_E0E5;
    private const int MostThreads = 4, MostOperations = 6, MostDevices = 2, MostAccesses = 4;

    // Of the first region: what its reservations have, and a page that none has.
    private const uint PagesAccessed = 5;

    // In no bank and in no region.
    private const ulong OwnMemory = 0x3A0_0000;

    /// <summary>2 to 4 threads of 1 to 6 operations each, one or two threads of accesses that devices make, and where there are cores two that are at work.</summary>
    public Gen<Scenario> WithDevices() => new ControlledGen();

    private sealed class ControlledGen : Gen<Scenario>
    {
        public override Scenario Generate(PCG pcg, Size? min, out Size size)
        {
            // From a stream of its own, so that scenarios on the usual machine are the same whatever others there are.
            var others = new PCG(pcg.Stream, pcg.Seed ^ MachineStream);
            Machine machine = DrawMachine(others);
            bool refuses = others.Next(8) == 0;
            HistoryWorld world = pcg.Next(2) == 0 ? Plain : Worlds[pcg.Next((uint)Worlds.Length)];
            if (machine == Machine.WithCores) world = Cpu;
            // Elsewhere nothing is noted, and there is but one answer.
            bool collects = world == Scalable && others.Next(2) == 0;
            int made = FirstMade;
            var threads = ImmutableArray.CreateBuilder<ImmutableArray<Step>>();
            int count = 2 + (int)pcg.Next(MostThreads - 1);
            for (int thread = 0; thread < count; thread++)
            {
                var steps = ImmutableArray.CreateBuilder<Step>();
                int length = 1 + (int)pcg.Next(MostOperations);
                for (int i = 0; i < length; i++)
                {
                    Operation next = HistoryGen.Next(pcg, ref made);
                    steps.Add(new(pcg.Next(3) == 0 && world.Next(pcg, steps, FirstOther + thread * MostOperations + i) is { } other and not (CoreAccess or GoIdle) ? other : next));
                }

                if (collects) Collect(steps, others);
                threads.Add(refuses ? Refuse(steps.ToImmutable(), others) : steps.ToImmutable());
            }

            uint devices = 1 + pcg.Next(MostDevices);
            for (int device = 0; device < devices; device++) threads.Add(DrawDevice(pcg, device));
            for (int core = 0; machine == Machine.WithCores && core < CoresAtWork; core++) threads.Add(DrawCore(others, core));
            // What waits for a flush then is not the model's to say.
            if (world != Deferred && others.Next(8) == 0)
            {
                for (int i = 0; i < threads.Count; i++) threads[i] = Silence(threads[i], others);
            }

            var changes = new PCG(pcg.Stream, pcg.Seed ^ ChangeStream);
            if (world == Scalable && changes.Next(2) == 0)
            {
                for (int i = 0; i < threads.Count; i++) threads[i] = WithChanges(threads[i], changes);
            }

            size = new((ulong)threads.Sum(thread => thread.Length));
            // Something is backed when they begin, in half of them.
            string[] before = pcg.Next(2) == 0 || world == Deferred ? [] : ["back r0 m0"];
            if ((machine == Machine.WithOtherDevices ? changes : others).Next(8) == 0)
            {
                before = [.. before, "hook d0 refuse", "hook d1 refuse"];
                threads[0] = threads[0].SetItem((int)others.Next((uint)threads[0].Length), new(new DispatchFaults()));
            }

            Topology topology = Change(world.Topology with { TracksUse = collects }, machine, others);
            if (world == Scalable && machine is Machine.Usual or Machine.NotCoherent && others.Next(2) == 0)
            {
                topology = topology with { Devices = new([.. topology.Devices.Select(static _ => DeviceKind.Paging)]) };
                before = [.. before, "hook d0 back", "hook d1 back"];
                for (int thread = 0; thread < 2; thread++) threads[thread] = threads[thread].SetItem((int)others.Next((uint)threads[thread].Length), new(new DispatchFaults()));
            }

            topology = WithoutQueue(topology, new(pcg.Stream, pcg.Seed ^ QueueStream));
            var passages = new PCG(pcg.Stream, pcg.Seed ^ PassStream);
            if (CanPass(threads) && passages.Next(8) == 0)
            {
                before = [.. before, $"m9 = wrap 0x{OwnMemory:x}-0x{OwnMemory + Page * PagesAccessed - 1:x}"];
                for (int i = 0; i < threads.Count; i++) threads[i] = i < count ? WithPassages(threads[i], passages) : ToOwnMemory(threads[i], passages);
            }

            return new(topology, [.. world.Steps, .. before.Select(OperationText.Parse)]) { Threads = threads.ToImmutable() };
        }

        /// <summary>Whether devices may be let through: where nobody asks what they used, and nobody is told of what there is no memory for.</summary>
        private static bool CanPass(IEnumerable<ImmutableArray<Step>> threads) =>
            !threads.Any(static thread => thread.Any(static step => step.Operation is CoreAccess or CollectUse or DispatchFaults));

        /// <summary>Half of what devices access is then memory of the script's own, which no region has: untranslated they reach it, and nothing else.</summary>
        private static ImmutableArray<Step> ToOwnMemory(ImmutableArray<Step> thread, PCG pcg) =>
            [.. thread.Select(step => step.Operation is DeviceAccess access && pcg.Next(2) == 0 ? step with { Operation = access with { Address = OwnMemory + access.Address } } : step)];

        /// <summary>An eighth of the machines that can do without an invalidation queue has none.</summary>
        private static Topology WithoutQueue(Topology topology, PCG pcg) =>
            topology with { QueuedInvalidation = topology.IsScalable || topology.Devices.HaveTlbs || pcg.Next(8) != 0 };

        private static ImmutableArray<Step> DrawDevice(PCG pcg, int device)
        {
            var accesses = ImmutableArray.CreateBuilder<Step>();
            uint length = 1 + pcg.Next(MostAccesses);
            for (int i = 0; i < length; i++)
            {
                accesses.Add(new(new DeviceAccess(
                    new(ObjectKind.Device, device), Page * pcg.Next(PagesAccessed), pcg.Next(2) == 0 ? Permissions.Read : Permissions.Write)));
            }

            return accesses.ToImmutable();
        }
    }
}
