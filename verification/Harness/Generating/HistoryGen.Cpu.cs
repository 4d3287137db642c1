using System.Collections.Immutable;
using CsCheck;
using Harness.Operations;
using Harness.Scenarios;
using Vcmm.Spec;

namespace Harness.Generating;

// A world in which regions are processes, too: each thread has a core of its own.
public sealed partial class HistoryGen
{
    private const ulong CpuStream = 0xC0_4E5;

    private static readonly HistoryWorld Cpu = new(
        new() { Devices = 2, Cores = Threads, Processes = 2 },
        NextOfCpu,
        "v0 = vcm 0x0-0xffff", "v1 = vcm 0x0-0x3fff", "r0 = reserve-at v0 0x0 8K rw", "r1 = reserve-at v0 0x2000 8K r", "r2 = reserve-at v1 0x1000 8K rwx",
        "m0 = allocate 8K of 4K", "m1 = allocate 8K of 4K scattered", "a0 = associate v0 p0", "a1 = associate v1 p1", "a2 = associate v0 d1", "activate a0", "activate a1",
        "back r0 m0", "back r2 m1");

    /// <summary>Nothing is written: where two threads write the same, nobody can tell who was where.</summary>
    private static Operation? NextOfCpu(PCG pcg, ImmutableArray<Step>.Builder steps, int number)
    {
        var core = new ObjectId(ObjectKind.Core, (number - FirstOther) / MostSteps);
        ObjectId Process() => new(ObjectKind.Process, (int)pcg.Next(2));
        return pcg.Next(10) switch
        {
            0 => new GoIdle(core),
            1 => new Associate(new(ObjectKind.Association, number), pcg.Next(2) == 0 ? V0 : V1, Process()),
            2 when steps.Select(static step => step.Operation).OfType<Associate>().LastOrDefault() is { } joined => new Activate(joined.Association),
            3 => new SetAttributes(new(ObjectKind.Reservation, (int)pcg.Next(3)), One(pcg, Permissions.Read, Permissions.ReadWrite, Permissions.Read | Permissions.Execute)),
            _ => new CoreAccess(core, Process(), Page * pcg.Next(4), pcg.Next(5) == 0 ? Permissions.Execute : Permissions.Read),
        };
    }
}
