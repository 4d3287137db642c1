using System.Collections.Immutable;
using CsCheck;
using Harness.Operations;
using Harness.Scenarios;
using Vcmm.Spec;

namespace Harness.Generating;

// What some scenarios for controlled schedules have and most have not: cores, devices of other kinds, walks that are not coherent, memory that is refused.
public sealed partial class HistoryGen
{
    private const ulong MachineStream = 0x70_9014;
    private const int CoresAtWork = 2, MostOfCore = 3, MostAllocations = 3;

    private static readonly DeviceKind[] OtherKinds = [DeviceKind.Ats, DeviceKind.Ats, DeviceKind.Wild, DeviceKind.ScatterGather, DeviceKind.Queue];

    private enum Machine
    {
        Usual,
        WithCores,
        WithOtherDevices,
        NotCoherent,
    }

    /// <summary>What the machine is: of eight three are not the usual one.</summary>
    private static Machine DrawMachine(PCG pcg) => pcg.Next(8) switch
    {
        0 => Machine.WithCores,
        1 => Machine.WithOtherDevices,
        2 => Machine.NotCoherent,
        _ => Machine.Usual,
    };

    private static Topology Change(Topology topology, Machine machine, PCG pcg) => machine switch
    {
        Machine.WithOtherDevices => topology with { Devices = new([.. topology.Devices.Select(_ => One<DeviceKind>(pcg, OtherKinds))]) },
        Machine.NotCoherent => topology with { CoherentWalk = false },
        _ => topology,
    };

    /// <summary>What a core does: it reads, writes and fetches in processes, and is idle.</summary>
    private static ImmutableArray<Step> DrawCore(PCG pcg, int number)
    {
        var core = new ObjectId(ObjectKind.Core, number);
        var steps = ImmutableArray.CreateBuilder<Step>();
        uint length = 1 + pcg.Next(MostOfCore);
        for (int i = 0; i < length; i++)
        {
            steps.Add(new(pcg.Next(6) == 0
                ? new GoIdle(core)
                : new CoreAccess(core, new(ObjectKind.Process, (int)pcg.Next(2)), Page * pcg.Next(PagesAccessed), One(pcg, Permissions.Read, Permissions.Read, Permissions.Write, Permissions.Execute))));
        }

        return steps.ToImmutable();
    }

    /// <summary>In half of the scenarios in which use is noted some of what a thread does is to ask for it.</summary>
    private static void Collect(ImmutableArray<Step>.Builder thread, PCG pcg)
    {
        for (int i = 0; i < thread.Count; i++)
        {
            if (pcg.Next(3) != 0) continue;
            uint first = pcg.Next(2), count = 1 + pcg.Next(2 - first);
            thread[i] = new(new CollectUse(new(ObjectKind.Reservation, (int)pcg.Next(3)), Page * first, Page * count, One(pcg, Use.Written, Use.Written, Use.Accessed), pcg.Next(3) != 0));
        }
    }

    /// <summary>In one scenario of eight some of what tells the hardware something is not heard.</summary>
    private static ImmutableArray<Step> Silence(ImmutableArray<Step> thread, PCG pcg) =>
        [.. thread.Select(step => step is { Mishap: null, Operation: Back or Unback or UnbackPart or SetAttributes or Activate or Deactivate or Deassociate } && pcg.Next(2) == 0 ? step with { Mishap = new(MishapKind.Hardware, 1) } : step)];

    /// <summary>In one scenario of eight some of what takes memory is refused it.</summary>
    private static ImmutableArray<Step> Refuse(ImmutableArray<Step> thread, PCG pcg) =>
        [.. thread.Select(step => step.Operation is Back or BackPart or Map or Bind or CloneVcm && pcg.Next(2) == 0 ? step with { Mishap = new(MishapKind.Memory, 1 + (int)pcg.Next(MostAllocations)) } : step)];
}
