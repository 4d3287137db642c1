using IommuSim.ScalableMode;
using Platform;

namespace IommuSim;

public sealed partial class VtdIommu<TMemory, TSteps>
{
    /// <summary>From the scalable-mode context entry on: whose address space it is, and whether the request may use it.</summary>
    /// <remarks>
    /// <b>Source.</b> Intel VT-d specification, Scalable Mode Address Translation; fault conditions by their names. The
    /// specification does not order the conditions of one request; the order here is that of the structures met.
    /// </remarks>
    private TranslationResult TranslateScalable(in Request arrived, in ScalableContextEntry context, ref bool isSilenced)
    {
        Pasid pasid = context.RidPasid;
        bool privileged = context.RidPrivilege;
        if (arrived.Prefix is { } prefix)
        {
            pasid = prefix.Pasid;
            privileged = prefix.Privileged;
            VtdFaultReason refusal = context.CheckPasid(pasid, _options);
            if (refusal != VtdFaultReason.None) return TranslationResult.Blocked(refusal);
        }

        Request request = arrived with { Privileged = privileged };
        CachedPasid found = FindPasid(request, context.Directory, pasid);
        isSilenced |= found.FaultProcessingDisabled;
        if (found.Fault != VtdFaultReason.None) return TranslationResult.Blocked(found.Fault);
        if (request.Execute && !(_options.HasExecute && found.Entry.IsExecuteEnabled))
            return TranslationResult.Blocked(VtdFaultReason.ExecuteNotEnabled);                          // SPT.5
        if (privileged && !found.Entry.IsSupervisorEnabled)
            return TranslationResult.Blocked(VtdFaultReason.SupervisorNotEnabled);                       // SPT.6
        return TranslateWith(request, found.Entry.ToAddressSpace(pasid));
    }

    private CachedPasid FindPasid(in Request request, PhysAddr directory, Pasid pasid)
    {
        _steps.At(SimStep.PasidLookup, pasid.Value);
        if (_caches.Pasids.TryFind(request.Source, pasid, out CachedPasid known))
        {
            _caches.InFlight.CountsOf(request.Slot).PasidCacheHits++;
            return known;
        }

        CachedPasid read = ScalableStructures.ReadPasid(_memory, _steps, _options, directory, pasid);
        if (read.Fault != VtdFaultReason.None && !_options.CachingMode) return read;
        _steps.At(SimStep.PasidFill, pasid.Value);
        lock (_gate)
        {
            if (_caches.MayFill(request.Slot)) _caches.Pasids.Insert(request.Source, pasid, read);
        }

        return read;
    }
}
