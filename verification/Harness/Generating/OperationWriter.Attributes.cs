using CsCheck;
using Vcmm.Spec;

namespace Harness.Generating;

// What reservations have beyond permissions.
internal sealed partial class OperationWriter
{
    private const ulong AttributeStream = 0xCAC4_E11E;

    // In the order in which they are likelier.
    private static readonly CachePolicy[] CachePolicies = [CachePolicy.NotCached, CachePolicy.WriteThrough, CachePolicy.WriteBackNoWriteAllocate];

    // A stream of its own, so that steps are the same whatever their attributes are.
    private readonly PCG _attributes;

    /// <summary>
    /// Permissions, and now and then more. What no table of the machine can say is rare: without a table it can be reserved all the
    /// same, and keeps tables away.
    /// </summary>
    private Attributes Attributes()
    {
        Permissions permissions = Permissions();
        bool isSupervisorOnly = _attributes.Next(_isScalable ? 5u : 40) == 0, isSecure = _attributes.Next(80) == 0;
        CachePolicy cache = _attributes.Next(3) == 0 ? CachePolicies[(int)_attributes.Next((uint)CachePolicies.Length)] : default;
        return new(permissions, isSupervisorOnly, isSecure, cache);
    }
}
