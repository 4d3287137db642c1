using Harness.Scenarios;
using Vcmm.Spec;

namespace Harness.Shrinking;

/// <summary>What is simpler than a scenario by a format of tables or a PASID.</summary>
internal static class SpaceSimplifications
{
    /// <summary>The scenario in legacy mode, where there is but one address space and one format; or what is simpler on the same machine.</summary>
    public static IEnumerable<Scenario> Of(Scenario scenario)
    {
        if (!scenario.Topology.IsScalable) return OnSameMachine(scenario);
        Scenario legacy = Replace(scenario with { Topology = scenario.Topology with { Mode = RemappingMode.Legacy, Nesting = false, Devices = scenario.Topology.Devices.Replace(DeviceKind.Paging, DeviceKind.Ats) } }, static o => WithKind(WithPasid(o, null), null));
        return OnSameMachine(scenario).Prepend(legacy);
    }

    /// <summary>The scenario without a PASID, everywhere it stands, or with a smaller one; with the tables of those who do not choose.</summary>
    public static IEnumerable<Scenario> OnSameMachine(Scenario scenario)
    {
        Operation[] operations = [.. scenario.Steps.Select(static step => step.Operation)];
        uint[] pasids = [.. operations.Select(PasidOf).OfType<uint>().Distinct().Order()];
        TableKind[] kinds = [.. operations.Select(KindOf).OfType<TableKind>().Distinct().OrderDescending()];
        foreach (uint pasid in pasids) yield return Replace(scenario, o => PasidOf(o) == pasid ? WithPasid(o, null) : o);
        foreach (TableKind kind in kinds)
        {
            yield return Replace(scenario, o => KindOf(o) == kind ? WithKind(o, null) : o);
            if (kind == TableKind.FirstStageFiveLevels) yield return Replace(scenario, static o => KindOf(o) == TableKind.FirstStageFiveLevels ? WithKind(o, TableKind.FirstStage) : o);
        }

        for (int i = 0; i < pasids.Length; i++)
        {
            uint former = pasids[i], smaller = (uint)i + 1;
            if (former > smaller) yield return Replace(scenario, o => PasidOf(o) == former ? WithPasid(o, smaller) : o);
        }
    }

    private static uint? PasidOf(Operation operation) => operation switch
    {
        Associate o => o.Pasid,
        ChangeAssociation o => o.Pasid,
        DeviceAccess o => o.Pasid,
        CrossingAccess o => o.Pasid,
        PassThrough o => o.Pasid,
        EndPassThrough o => o.Pasid,
        _ => null,
    };

    private static Operation WithPasid(Operation operation, uint? pasid) => operation switch
    {
        Associate o => o with { Pasid = pasid },
        ChangeAssociation o => o with { Pasid = pasid },
        CrossingAccess o => o with { Pasid = pasid },
        PassThrough o => o with { Pasid = pasid },
        EndPassThrough o => o with { Pasid = pasid },
        // Without a PASID there is no way to ask for privilege.
        DeviceAccess o => o with { Pasid = pasid, IsPrivileged = o.IsPrivileged && pasid is not null },
        _ => operation,
    };

    private static TableKind? KindOf(Operation operation) => operation switch
    {
        Associate o => o.Kind,
        ChangeAssociation o => o.Kind,
        Adopt o => o.Kind,
        _ => null,
    };

    private static Operation WithKind(Operation operation, TableKind? kind) => operation switch
    {
        Associate o => o with { Kind = kind },
        ChangeAssociation o => o with { Kind = kind },
        Adopt o => o with { Kind = kind },
        _ => operation,
    };

    private static Scenario Replace(Scenario scenario, Func<Operation, Operation> with) =>
        scenario with { Steps = [.. scenario.Steps.Select(step => step with { Operation = with(step.Operation) })] };
}
