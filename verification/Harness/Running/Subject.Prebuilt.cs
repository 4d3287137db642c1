using Platform;
using Vcmm;
using Vcmm.Spec;

namespace Harness.Running;

// Prebuilt regions: the runner plays the owner of the tables that they have.
public sealed partial class Subject
{
    // One that is not confirmed is tried again: the owner must not go on before.
    private const int MostInvalidations = 3;

    private readonly List<(PhysAddr Root, Vcm Region)> _adopters = [];

    /// <summary>The root is read from the machine, as a stranger would: from what the hardware finds for a device that is active in the region.</summary>
    private Observation Do(Adopt adopt)
    {
        Vcm source = Of(_vcms, adopt.Source);
        Vcmm.Tables.TableFormat format = FormatOf(adopt.Kind ?? TableKind.SecondStage);
        Association[] associations;
        lock (_gate) associations = [.. _associations.Values];
        Association walked = associations.First(association => association.Vcm == source && association.Format == format && association.IsActive);
        PhysAddr root = RootOf(walked);
        VcmmError error = _manager.TryAdoptVcm(source.Range, format, root, out Vcm? made);
        if (made is null) return Seen(error);
        Put(_vcms, adopt.Vcm, made);
        lock (_gate) _adopters.Add((root, made));
        return Seen(error);
    }

    /// <summary>A table has changed: the regions that have adopted it must forget.</summary>
    private void Notify(PhysAddr root, IovaRange range)
    {
        if (_adopters.Count == 0) return;
        Vcm[] adopters;
        lock (_gate) adopters = [.. _adopters.Where(adopter => adopter.Root == root).Select(static adopter => adopter.Region)];
        foreach (Vcm adopter in adopters)
        {
            VcmmError error = VcmmError.HardwareFailure;
            for (int i = 0; i < MostInvalidations && error == VcmmError.HardwareFailure; i++) error = adopter.TryInvalidate(range);
            if (error != VcmmError.None) throw new InvalidOperationException($"{range} of an adopted table was not invalidated: {error}");
        }
    }
}
